"""Speed of avsearch beside other engines and beside the bare work."""
