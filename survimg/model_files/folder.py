"""The folder of a model file: written in one step, and read only if its checksums hold."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from survimg.files import sync_folder, write_new
from survimg.model_files.errors import ModelFileError

__all__ = [
    "FORMAT", "MANIFEST", "VERSION", "own_checksum", "parse_json", "read_folder", "write_folder",
]  # fmt: skip

FORMAT = "survimg model"
#: Version of the format. A survimg reads this version and all before it.
VERSION = 1
MANIFEST = "manifest.json"

_LARGEST_MANIFEST = 2**24
#: Where the manifest keeps the checksum of its other entries.
_OWN = "manifest_sha256"


def write_folder(
    folder: Path, manifest: Mapping[str, Any], files: Mapping[str, bytes], *, overwrite: bool
) -> None:
    """Write the files of a model, and the manifest with their checksums.

    Everything goes to a folder beside `folder`, down to the disk, which then takes the name in one
    step: a process killed at any moment leaves the old folder, or the new one, or none. (Replacing
    takes two steps: killed in between, it leaves the old one as ``.<name>.<digits>.replaced``.)

    Raises
    ------
    FileExistsError
        Something is at `folder`, and it is no model file or `overwrite` is False.
    """
    _check_free(folder, overwrite)
    described = {
        name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in files.items()
    }
    entries = {"format": FORMAT, "version": VERSION, **manifest, "files": described}
    text = json.dumps({**entries, _OWN: own_checksum(entries)}, allow_nan=False, indent=1)
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = _beside(folder, "partial")
    try:
        partial.mkdir()
        for name, content in {**files, MANIFEST: text.encode()}.items():
            write_new(partial / name, content)
        sync_folder(partial)
        _publish(partial, folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    sync_folder(folder.parent)


def read_folder(folder: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return the manifest and the content of the other files, whose checksums hold.

    Raises
    ------
    FileNotFoundError
        There is no such folder.
    ModelFileError
        It is no model file, of a newer format, or not as it was written.
    """
    if not folder.is_dir():
        raise FileNotFoundError(_not_there(folder))
    entries = {entry.name: entry for entry in os.scandir(folder)}
    if MANIFEST not in entries:
        raise ModelFileError(
            f"{folder} has no {MANIFEST}: it is no folder that survimg.save wrote."
        )
    for name, entry in entries.items():
        # A link or a pipe could lead anywhere, or never end.
        if not stat.S_ISREG(entry.stat(follow_symlinks=False).st_mode):
            raise ModelFileError(
                f"{folder / name} is no ordinary file; a model file holds nothing else. Do not use "
                "it, or remove what does not belong to it."
            )
    manifest = _read_manifest(folder)
    described = _described(folder, manifest)
    _check_names(folder, set(entries) - {MANIFEST}, set(described))
    return manifest, {name: _read(folder / name, *facts) for name, facts in described.items()}


def own_checksum(manifest: Mapping[str, Any]) -> str:
    """Return the checksum of a manifest's entries, which does not count itself."""
    entries = {name: value for name, value in manifest.items() if name != _OWN}
    return hashlib.sha256(json.dumps(entries, sort_keys=True).encode()).hexdigest()


def parse_json(content: bytes, where: str) -> dict[str, Any]:
    """Parse a JSON object.

    Raises
    ------
    ModelFileError
        It is not a JSON object.
    """
    try:
        value = json.loads(content.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{where} is not JSON ({error}); the file is damaged.") from None
    if not isinstance(value, dict):
        raise ModelFileError(f"{where} holds no JSON object; the file is damaged.")
    return value


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    with open(path, "rb") as file:
        content = file.read(_LARGEST_MANIFEST + 1)
    if len(content) > _LARGEST_MANIFEST:
        raise ModelFileError(f"{path} is larger than a manifest can be; the file is damaged.")
    manifest = parse_json(content, str(path))
    if manifest.get("format") != FORMAT:
        raise ModelFileError(
            f"{path} is of the format {manifest.get('format')!r}, not {FORMAT!r}: {folder} is no "
            "folder that survimg.save wrote."
        )
    version = manifest.get("version")
    if type(version) is not int or version < 1:
        raise ModelFileError(f"{path} names the version {version!r}; the file is damaged.")
    if version > VERSION:
        versions = manifest.get("versions")
        writer = versions.get("survimg") if isinstance(versions, dict) else None
        raise ModelFileError(
            f"{folder} is of version {version} of the model format, written by survimg "
            f"{writer or '(unknown)'}; this survimg reads versions up to {VERSION}. Update survimg."
        )
    if manifest.get(_OWN) != own_checksum(manifest):
        raise ModelFileError(
            f"{path} does not have the checksum that it names itself: it is damaged or was "
            "changed. Copy the folder again."
        )
    return manifest


def _described(folder: Path, manifest: Mapping[str, Any]) -> dict[str, tuple[int, str]]:
    """Size and checksum of every file, as the manifest has them."""
    files = manifest.get("files")
    if isinstance(files, dict) and all(
        isinstance(entry, dict)
        and type(entry.get("bytes")) is int
        and isinstance(entry.get("sha256"), str)
        for entry in files.values()
    ):
        return {name: (entry["bytes"], entry["sha256"]) for name, entry in files.items()}
    raise ModelFileError(
        f"{folder / MANIFEST} does not say which files belong to the model; the file is damaged."
    )


def _check_names(folder: Path, found: set[str], expected: set[str]) -> None:
    if missing := sorted(expected - found):
        raise ModelFileError(
            f"{folder} lacks {', '.join(missing)}, which its manifest names. Copy the whole folder."
        )
    if foreign := sorted(found - expected):
        raise ModelFileError(
            f"{folder} holds {', '.join(map(repr, foreign[:5]))}, which its manifest does not "
            "name. A model file holds nothing else: remove what does not belong to it."
        )


def _read(path: Path, size: int, sha256: str) -> bytes:
    with open(path, "rb") as file:
        n_bytes = os.fstat(file.fileno()).st_size
        if n_bytes != size:
            raise ModelFileError(
                f"{path} has {n_bytes} bytes instead of {size}: it is "
                f"{'truncated' if n_bytes < size else 'not the file that was written'}. Copy the "
                "folder again."
            )
        content = file.read()
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ModelFileError(
            f"{path} does not have the checksum that its manifest names: it is damaged or was "
            "changed. Copy the folder again."
        )
    return content


def _not_there(folder: Path) -> str:
    message = f"There is no model folder at {folder}."
    if folder.exists():
        return f"{message} It is a file; survimg.load takes the folder that survimg.save wrote."
    replaced = sorted(folder.parent.glob(f".{folder.name}.*.replaced"))
    if replaced:
        message += (
            f" {replaced[-1].name} beside it is what an interrupted overwrite left of the old one: "
            "rename it."
        )
    return message


def _check_free(folder: Path, overwrite: bool) -> None:
    """Refuse to replace anything but a model or an empty folder."""
    if not folder.exists() and not folder.is_symlink():
        return
    if folder.is_dir() and not folder.is_symlink():
        if not any(folder.iterdir()):
            return
        if not overwrite:
            raise FileExistsError(
                f"{folder} exists and is not empty. Choose another folder, or survimg.save(..., "
                "overwrite=True) to replace the model in it."
            )
        if _is_model(folder):
            return
    raise FileExistsError(
        f"{folder} exists and is no model that survimg.save wrote; it is never replaced. Choose "
        "another folder."
    )


def _is_model(folder: Path) -> bool:
    try:
        content = (folder / MANIFEST).read_bytes()
        return parse_json(content, MANIFEST).get("format") == FORMAT
    except (OSError, ModelFileError):
        return False


def _publish(partial: Path, folder: Path) -> None:
    with _moved_away(folder):
        try:
            partial.rename(folder)
        except OSError as error:
            # Another process was faster; its model is not replaced.
            if folder.exists():
                _check_free(folder, overwrite=False)
            raise error


@contextmanager
def _moved_away(folder: Path) -> Iterator[None]:
    """Move what is at `folder` out of the way; delete it at the end, or put it back."""
    if not folder.exists():
        yield
        return
    replaced = _beside(folder, "replaced")
    folder.rename(replaced)
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            replaced.rename(folder)
        raise
    shutil.rmtree(replaced)


def _beside(folder: Path, kind: str) -> Path:
    return folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.{kind}")
