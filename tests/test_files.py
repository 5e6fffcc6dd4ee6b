"""All that is written has the permissions of the umask, is whole, and is written in one place."""

from __future__ import annotations

import ast
import os
import stat
from pathlib import Path

import pytest
from whole_site import WRITING_COMMANDS, make_site, write_by_functions

import survimg
from survimg import Cohort
from survimg.cli.parser import make_parser
from survimg.files import file_name, locked, write_atomically, writing
from survimg.preprocessing import Preparation, prepare

SOURCE = Path(survimg.__file__).parent
#: What writes a file if its first argument is a path.
WRITERS = {
    "write_text", "write_bytes", "savez", "savez_compressed", "savetxt", "tofile", "to_csv",
    "to_parquet", "to_json", "to_excel", "to_pickle", "to_html", "savefig", "WriteImage", "save_as",
    "dump", "mkstemp", "NamedTemporaryFile", "ZipFile", "memmap", "open_memmap", "copy", "copyfile",
    "copy2", "touch", "chmod", "symlink_to", "link_to", "FileLock", "open", "fdopen", "save",
}  # fmt: skip
#: Methods of these names write nothing.
OF_MODULES = {
    "shutil.copy", "json.dump", "pickle.dump", "joblib.dump", "torch.save", "np.save",
}  # fmt: skip
#: Places that may write elsewhere than in `survimg.files`, and why.
EXCEPTIONS = {
    ("benchmark/environment.py", "write_text"): "asks the kernel, through /proc",
    ("io/dicom/folder.py", "symlink_to"): "links to the slices of a series",
    ("io/dicom/pixels.py", "save_as"): "a frame for the decoder, in a folder of this process alone",
    ("io/images/image.py", "open"): "asks for room, in a file that `writing` has given",
    ("compute/device_slots.py", "FileLock"): "locks in a folder that only the user can read",
}


def calls_that_write(path: Path) -> set[str]:
    """Names of calls that open a file for writing, other than into memory."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = set()
    for part in tree.body:
        for call in ast.walk(part):
            if isinstance(call, ast.Call) and (name := name_of(call.func)) in WRITERS:
                words = {ast.unparse(node) for node in call.args} | {
                    ast.unparse(k.value) for k in call.keywords if k.arg == "mode"
                }
                if writes(call, name, words, part):
                    found.add(name)
    return found


def name_of(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def writes(call: ast.Call, name: str, words: set[str], part: ast.stmt) -> bool:
    if name in ("open", "fdopen", "ZipFile"):
        modes = [word.strip("'") for word in words if word.startswith("'")]
        return any(set(mode) & set("wax+") for mode in modes) and not words & in_memory(part)
    if name in ("copy", "dump", "save") and ast.unparse(call.func) not in OF_MODULES:
        return False
    if name in ("to_csv", "to_json", "to_html") and not call.args:
        return False
    inside = {word.removeprefix("str(").rstrip(")") for word in words}
    return not inside & in_memory(part)


def in_memory(part: ast.stmt) -> set[str]:
    """Names that stand for a buffer, or for the path that `writing` gives."""
    names = set()
    for node in ast.walk(part):
        made_by, target = None, None
        if isinstance(node, ast.Assign):
            made_by, target = node.value, node.targets[0]
        elif isinstance(node, ast.withitem):
            made_by, target = node.context_expr, node.optional_vars
        maker = name_of(made_by.func) if isinstance(made_by, ast.Call) else ""
        if maker in ("BytesIO", "StringIO", "writing") and target is not None:
            names.add(ast.unparse(target))
    return names


def test_files_are_written_in_one_place():
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        place = path.relative_to(SOURCE).as_posix()
        if place != "files.py":
            found |= {(place, name): "" for name in calls_that_write(path)}
    assert found.keys() == EXCEPTIONS.keys()


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("open(p, 'w')", "open"), ("p.open(mode='ab')", "open"), ("open(p, 'r+b')", "open"),
        ("p.write_text(t)", "write_text"), ("t.to_csv(p)", "to_csv"), ("np.savez(p, x)", "savez"),
        ("f.savefig(p / 'x.png')", "savefig"), ("sitk.WriteImage(i, str(p))", "WriteImage"),
        ("torch.save(x, p)", "save"), ("zipfile.ZipFile(p, 'w')", "ZipFile"),
        ("open(p)", None), ("open(p, 'rb')", None), ("t.to_csv(index=False)", None),
        ("b = io.BytesIO()\n    np.savez(b, x)", None), ("x.copy()", None),
        ("with writing(p) as q:\n        f.savefig(q)", None),
    ],
)  # fmt: skip
def test_the_search_sees_what_writes(tmp_path, code, name):
    path = tmp_path / "module.py"
    path.write_text(f"def f():\n    {code}\n")
    assert calls_that_write(path) == ({name} if name else set())


def test_every_command_that_writes_is_tried():
    (commands,) = (a.choices for a in make_parser()._actions if a.choices and a.dest == "command")
    printing = {"checklist", "info", "summary", "methods", "models", "completion"}
    assert set(commands) == {*WRITING_COMMANDS, *printing}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return make_site(tmp_path_factory.mktemp("site"))


@pytest.fixture
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def check_permissions(folder: Path, umask: int) -> int:
    paths = sorted(folder.rglob("*"))
    for path in paths:
        if path.is_symlink():
            continue
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o777 if path.is_dir() else 0o666) & ~umask, (oct(mode), path)
        assert not path.name.endswith(".survimg-tmp"), path
    return len(paths)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("umask", [0o022, 0o002], indirect=True, ids=oct)
def test_what_functions_write_has_the_permissions_of_the_umask(site, umask, tmp_path):
    settings = Preparation(shape=(16, 16, 16), spacing=8.0)
    cohort = prepare(Cohort.from_manifest(site.manifest), settings)
    out = tmp_path / "out"
    out.mkdir()
    write_by_functions(site, out, cohort)
    assert check_permissions(out, umask) > 80


def test_an_error_leaves_nothing(tmp_path):
    path = tmp_path / "a" / "picture.png"
    with pytest.raises(TypeError), writing(path) as temporary:
        temporary.write_bytes("half of it")
    with pytest.raises(IsADirectoryError), writing(path) as temporary:
        (temporary.parent / "other").mkdir()
    assert not list(path.parent.iterdir())
    write_atomically(path, b"old")
    with pytest.raises(TypeError):
        write_atomically(path, "text")
    assert path.read_bytes() == b"old"
    assert [file.name for file in path.parent.iterdir()] == ["picture.png"]


def test_two_files_of_one_image_take_their_place_together(tmp_path):
    with writing(tmp_path / "image.mhd") as temporary:
        temporary.write_text("ElementDataFile = image.raw")
        temporary.with_suffix(".raw").write_bytes(b"voxels")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["image.mhd", "image.raw"]


def test_a_lock_removes_what_a_killed_process_left(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "x.json.1234abcd.survimg-tmp").write_text("half")
    (tmp_path / "image.nii.gz.1234abcd.survimg-tmp").mkdir()
    (tmp_path / "mine.tmp").write_text("of the user")
    with locked(tmp_path):
        assert sorted(path.name for path in tmp_path.iterdir()) == ["deep", "lock", "mine.tmp"]
        with pytest.raises(BlockingIOError, match=f"by process {os.getpid()}"), locked(tmp_path):
            pass
    assert not list((tmp_path / "deep").iterdir())


def test_names_stay_inside_their_folder():
    assert file_name("../../a b") == "_.._a_b"
