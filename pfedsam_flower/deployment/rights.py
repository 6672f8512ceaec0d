"""Who may read and change a site's and a coordinator's files, judged as OpenSSH judges keys and folders.

A file that decides what runs must belong to this account or to root, and nobody else may write it, nor the
folder that it lies in; a key must not even be read by others. Folders further up may be others', but not
writable by everybody, unless only owners may rename there (the sticky bit, as where temporary files lie).
"""

import os
import pwd
import stat
from collections.abc import Callable, Iterable
from pathlib import Path

from ..errors import StoreError
from ..settings.site import SiteSettings
from ..site.consent import control_folder

Look = Callable[[Path], os.stat_result]
WRITE, READ = stat.S_IWGRP | stat.S_IWOTH, stat.S_IRGRP | stat.S_IROTH
ENTER = stat.S_IXGRP | stat.S_IXOTH


def faults(path: Path, *, secret: bool = False, me: int | None = None, look: Look = os.stat) -> list[str]:
    """One sentence for each thing that others may do with a file or folder: what to do; [] if it is fit.

    Args:
        path: what is not there has no faults.
        secret: others must not even read it.
        me: the account that works with it; None: this process's.
        look: instead of the file system.
    """
    try:
        found = look(path)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        return [f"{path} cannot be looked at, {error.strerror}: give the command as its owner"]
    me, mode = os.geteuid() if me is None else me, stat.S_IMODE(found.st_mode)
    said = []
    if found.st_uid not in (0, me):
        owner, own = _name(found.st_uid), _name(me)
        said.append(
            f"{path} belongs to {owner}, and this is {own}: give the command as {owner} (sudo -u), "
            f"or chown {own} {path}"
        )
    if mode & WRITE:
        said.append(f"{path} can be changed by others (mode {mode:04o}): chmod go-w {path}")
    if secret and mode & READ:
        said.append(f"{path} can be read by others (mode {mode:04o}): chmod go= {path}")
    return said


def of_file(file: Path, look: Look = os.stat) -> list[str]:
    """Faults of a site's own file, which may belong to an administrator: it names state and key."""
    try:
        mode = stat.S_IMODE(look(file).st_mode)
    except OSError:
        return []
    if mode & stat.S_IWOTH:
        return [f"{file} can be changed by everybody (mode {mode:04o}): chmod o-w {file}"]
    return []


def above(path: Path, look: Look = os.stat) -> list[str]:
    """Folders further up in which everybody could put another one in its place."""
    said = []
    for folder in Path(os.path.realpath(path)).parents:
        try:
            mode = stat.S_IMODE(look(folder).st_mode)
        except OSError:
            continue
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            said.append(f"{folder} can be changed by everybody (mode {mode:04o}): chmod o-w {folder}")
    return said


def of_approvals(site: SiteSettings, me: int | None = None, look: Look = os.stat) -> list[str]:
    """Faults of what decides what may run at a site: its state folder down to its approvals."""
    control, state = control_folder(site), Path(site.state)
    paths = (state, control.parent, control, control / "bin", control / "approvals.json")
    return [text for path in paths for text in faults(path, me=me, look=look)] + above(state, look)


def of_site(site: SiteSettings, me: int | None = None, look: Look = os.stat) -> list[str]:
    """Faults of all that a site is started with: state folder and approvals, its key, the authority."""
    said = of_approvals(site, me, look)
    if site.key:
        key = Path(site.key)
        said += faults(key, secret=True, me=me, look=look) + faults(key.parent, me=me, look=look)
    if site.authority:
        said += faults(Path(site.authority), me=me, look=look)
    return list(dict.fromkeys(said))


def of_coordinator(folders: Iterable[Path], me: int | None = None, look: Look = os.stat) -> list[str]:
    """Faults of a coordinator's folders: certificates, enrolment, and the SuperLink's database.

    The database holds what sites have sent; in a folder that nobody else can enter it may have any mode.
    """
    said = []
    for folder in folders:
        said += faults(folder, me=me, look=look)
        for key in sorted(folder.glob("*.key")):
            said += faults(key, secret=True, me=me, look=look)
        try:
            closed = not look(folder).st_mode & ENTER
        except OSError:
            continue
        for path in sorted(folder.glob("*.db*")):
            said += faults(path, secret=not closed, me=me, look=look)
        said += faults(folder / "enrolled.json", me=me, look=look)
    return list(dict.fromkeys(said))


def refuse(said: list[str], where: str) -> None:
    """Nothing to do for an empty list.

    Raises:
        StoreError: PFS-608 with every fault.
    """
    if said:
        text = "others have more rights than they may have here:\n" + "\n".join(f"  - {one}" for one in said)
        raise StoreError("PFS-608", text, where=where, counts={"faults": len(said)})


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
