"""Files and folders that systems, storage boxes and programs leave among a user's files.

They belong to no person: recycle bins, thumbnails, indexes, partial downloads.
"""

from __future__ import annotations

import fnmatch
import re
from pathlib import Path

_NAMES = """
    #recycle #snapshot @eaDir @tmp @sharebin @database @SynoResource @SynoEAStream
    @Recycle @Recently-Snapshot @Transcode .@__thumb .@__qini .@upload_cache .@backup_config
    .streams trashbox .recycle .zfs .snapshot .snapshots ~snapshot .wdmc .nas_prog
    $RECYCLE.BIN RECYCLER RECYCLED $Extend Config.Msi MSOCache WPSettings.dat IndexerVolumeGuid
    Thumbs.db ehthumbs.db ehthumbs_vista.db desktop.ini AlbumArtSmall.jpg
    __MACOSX .DS_Store .AppleDouble .AppleDB .AppleDesktop .Spotlight-V100 .Trashes .fseventsd
    .TemporaryItems .DocumentRevisions-V100 .VolumeIcon.icns .apdisk .LSOverride .localized
    .com.apple.timemachine.donotpresent TheVolumeSettingsFolder TheFindByContentFolder
    lost+found LOST.DIR .Trash .directory .thumbnails .thumbs .xvpics .gvfs
    .picasa.ini Picasa.ini .picasaoriginals ZbThumbnail.info pspbrwse.jbf .dtrash
    thumbnails-digikam.db .nomedia .comments
    .stfolder .stversions .stignore .sync .dropbox .dropbox.cache .tmp.drivedownload
    .tmp.driveupload .owncloudsync.log files_trashbin files_versions
"""
_SPACED = (
    *("System Volume Information", "Network Trash Folder", "Temporary Items", "Recycle Bin"),
    *("Desktop DB", "Desktop DF", "Icon\r"),
)
_PATTERNS = """
    ._* :2e* FOUND.[0-9][0-9][0-9] .Trash-* .trashed-* .pending-* AlbumArt_{*}_*.jpg Thumbs.db:*
    SYNOPHOTO[_:]* SYNOFILE_THUMB* SYNOINDEX* *@SynoEAStream *@SynoResource *:Zone.Identifier
    *:AFP_* .nfs* .fuse_hidden* .csync_journal.db* ._sync_* .*.icloud *.lrdata *.trickplay
    *.download Network?Recycle?Bin* _NAS_Recycle_*
"""
_FILE_PATTERNS = """
    ~$* .~lock.*# .syncthing.*.tmp ~syncthing~*.tmp *.part *.crdownload *.partial *.opdownload
    *.filepart *.aria2 *.!ut *.!qb *.!sync *.tmp
"""
_KNOWN = {name.casefold(): name.rstrip() for name in (*_NAMES.split(), *_SPACED)}
_FILES_ONLY = frozenset(_FILE_PATTERNS.split())
_LIKE = [
    (each, re.compile(fnmatch.translate(each.casefold())).match)
    for each in (*_PATTERNS.split(), *_FILE_PATTERNS.split())
]


def left_by_system(path: Path) -> str | None:
    """Return the known name or pattern that a path matches; None for a user's own file.

    Case does not count.
    """
    folded = path.name.casefold()
    known = _KNOWN.get(folded) or next((each for each, is_ in _LIKE if is_(folded)), None)
    return None if known in _FILES_ONLY and path.is_dir() else known
