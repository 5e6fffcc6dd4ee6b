"""What leaves a site names no patient, folder, host or user, and has the umask's permissions.

One site is run under umask 077: hospital numbers, names, dates of birth and the folders they lie in
are planted in the inputs, and searched in all that is written, also inside archives and pictures.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import hmac
import io
import os
import re
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pydicom
import pytest
from whole_site import N, make_site, write_by_commands, write_by_functions

from survimg import Cohort
from survimg.benchmark.places import without_places
from survimg.cli import main
from survimg.preprocessing import pseudonyms, read_key

#: Planted in identifiers, headers, folders, and the environment.
PLANTED = ["Sentinel", "19610203", "1961-02-03", "47110815", "jane-doe-home", "sentinelhost"]
IDS = [f"Sentinel^Jane{k} 1961-02-03 #47110815{k}" for k in range(N)]
KEY = b"0123456789abcdef" * 4


def forms(text: str) -> list[bytes]:
    """How a text may be written: NumPy writes four bytes for a character."""
    return [text.encode(), text.encode("utf-16-le"), text.encode("utf-32-le")]


def contents(name: str, content: bytes) -> Iterator[tuple[str, bytes]]:
    """A file, and what is packed in it."""
    yield name, content
    if content[:2] == b"\x1f\x8b":
        yield from contents(f"{name}!gz", gzip.decompress(content))
    if content[:4] == b"PK\x03\x04":
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for member in archive.namelist():
                yield from contents(f"{name}!{member}", archive.read(member))
    if content[:4] == b"PAR1":
        table = pd.read_parquet(io.BytesIO(content))
        yield f"{name}!table", table.to_csv().encode()
    if name.endswith(".html"):
        for k, code in enumerate(re.findall(rb"base64,([A-Za-z0-9+/=]+)", content)):
            yield from contents(f"{name}!picture {k}", base64.b64decode(code))


def traces(folder: Path, planted: list[str]) -> dict[str, str]:
    """Which files tell something, in their names or in what they hold."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        packed = contents(name, path.read_bytes()) if path.is_file() else []
        for place, content in [(name, name.encode()), *packed]:
            for text in planted:
                if any(form in content for form in forms(text)):
                    found[place] = text
    return found


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("jane-doe-home")
    made = make_site(folder, IDS)
    for path in made.dicom.rglob("*.dcm"):
        dataset = pydicom.dcmread(path)
        dataset.PatientName, dataset.PatientID = "Sentinel^Jane", "47110815"
        dataset.PatientBirthDate, dataset.InstitutionName = "19610203", "Sentinel Hospital"
        dataset.save_as(path)
    (folder / "key").write_bytes(KEY)
    (folder / "key").chmod(0o600)
    return made


@pytest.fixture(scope="module")
def outputs(site, tmp_path_factory):
    """Everything that the site writes, with pseudonyms, under umask 077."""
    out = tmp_path_factory.mktemp("jane-doe-home-out") / "out"
    with pytest.MonkeyPatch.context() as patch:
        for name in ("USER", "LOGNAME", "HOSTNAME"):
            patch.setenv(name, "sentinelhost")
        patch.setattr("socket.gethostname", lambda: "sentinelhost")
        patch.setattr("platform.node", lambda: "sentinelhost")
        before = os.umask(0o077)
        try:
            out.mkdir()
            write_by_commands(site, out, "--pseudonymise", str(site.manifest.parents[1] / "key"))
            write_by_functions(site, out, Cohort.load(out / "cohort"))
        finally:
            os.umask(before)
    return out


#: Outputs that name patients as their inputs do: they are made straight from named images, and the
#: page on privacy says so.
NAMED = {
    "cases.csv": "the table of cases names its patients",
    "predictions/": "of a folder of DICOM, named as its folders",
    "objects/": "segmentation objects belong to a patient, whom the standard requires to be named",
    "mask.dcm": "the same, from Python",
    "raw-run/": "a benchmark of a manifest with named patients",
    "manifest/": "the manifest of a folder of DICOM is no output: it names folders",
}


#: Rows of the table on the page on privacy that describe each output.
ROWS = {
    "cohort": ["prepared cohort"], "cohort-saved": ["prepared cohort"],
    "registered": ["prepared cohort"], "features.csv": ["features"],
    "cases.csv": ["features of a table of cases"], "voxel-maps": ["feature maps"],
    "case-maps.csv": ["features of a table of cases"], "case-maps": ["feature maps"],
    "cache": ["records of features"], "features": ["records of features"], "fits": ["stored fits"],
    "run": ["run", "report"], "measured": ["run", "report"],
    "raw-run": ["run", "report", "cohort of a run", "negative control"],
    "figures": ["figures"], "figures-again": ["figures"], "difference.html": ["comparison"],
    "difference-again.html": ["comparison"], "nomogram.html": ["nomogram"],
    "analysis": ["analysis of scores"], "mtdlr": ["MTDLR analysis"],
    "network": ["model folder"], "cox": ["model folder"],
    "model": ["model folder"], "checkpoints": ["checkpoints"], "predictions": ["predictions"],
    "objects": ["predictions", "segmentation objects"], "mask.dcm": ["segmentation objects"],
    "maps": ["maps, pictures"], "saliency": ["maps, pictures"], "image.nii.gz": ["images"],
    "image.nrrd": ["images"], "image.mhd": ["images"], "image.zraw": ["images"],
    "manifest": ["manifest of DICOM"], "phantoms": ["phantoms"],
}  # fmt: skip


def listed_files() -> dict[str, list[str]]:
    """Patterns of the files of each row of the page's table.

    Words in capitals stand for any name, a folder (with its slash) for all that is in it.
    """
    page = (Path(__file__).parents[2] / "docs" / "privacy.md").read_text("utf-8")
    rows = re.findall(r"^\| ([^|]+) \| (`[^|]+) \| [^|]+ \| [^|]+ \|$", page, re.MULTILINE)
    return {
        name: [
            re.sub(r"(?<![A-Za-z])[A-Z]+(?![A-Za-z])|\\\*", "[^/]+", re.escape(file))
            + (".+" if file.endswith("/") else "")
            for file in re.findall(r"`([^`]+)`", files)
        ]
        for name, files in rows
    }


def test_the_page_lists_every_file_that_is_written_and_no_other(outputs):
    listed = listed_files()
    assert listed.keys() == {row for rows in ROWS.values() for row in rows}
    unused = {(name, file) for name, files in listed.items() for file in files}
    for path in outputs.rglob("*"):
        if path.is_file():
            top, *rest = path.relative_to(outputs).parts
            place = "/".join(rest) or top
            found = {
                (row, file) for row in ROWS[top] for file in listed[row]
                if re.fullmatch(file, place)
            }  # fmt: skip
            assert found, f"{top}/{'/'.join(rest)} is in no row {ROWS[top]} of docs/privacy.md"
            unused -= found
    assert not unused


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_nothing_that_leaves_a_site_tells_who_or_where(outputs):
    found = traces(outputs, PLANTED)
    told = {place: text for place, text in found.items() if not place.startswith(tuple(NAMED))}
    assert told == {}
    assert all(any(place.startswith(name) for place in found) for name in NAMED)
    # Even these tell of no folder, host or user.
    places = [text for place, text in found.items() if not place.startswith("manifest/")]
    assert not {"jane-doe-home", "sentinelhost"} & set(places)
    objects = {text for place, text in found.items() if place.startswith("predictions/")}
    assert objects <= {"Sentinel", "1961-02-03", "47110815"}


def test_what_commands_write_has_the_permissions_of_the_umask(outputs):
    paths = [path for path in outputs.rglob("*") if not path.is_symlink()]
    assert len(paths) > 200
    for path in paths:
        expected = 0o700 if path.is_dir() else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == expected, path
        assert not path.name.endswith(".survimg-tmp")


def test_pseudonyms_are_the_keyed_hash_and_nothing_else_changes(site, outputs, tmp_path):
    named = tmp_path / "named"
    shape = ["--shape", "16", "16", "16", "--spacing", "8", "-q"]
    words = [str(site.dicom), "--clinical", str(site.clinical), "--label", "Tumour"]
    assert main(["prepare", *words, *shape, "--out", str(named)]) == 0
    before, after = Cohort.load(named), Cohort.load(outputs / "cohort")
    assert after.ids.tolist() == pseudonyms(before.ids.tolist(), KEY)
    for name in ("volumes.npy", "masks.npy"):
        assert (named / name).read_bytes() == (outputs / "cohort" / name).read_bytes()
    pd.testing.assert_frame_equal(before.clinical, after.clinical)
    assert before.settings == after.settings


def test_hidden_identifiers_are_in_no_file_of_a_report(outputs, tmp_path):
    run = outputs / "raw-run"
    assert traces(run / "records", ["Sentinel"])
    assert main(["report", str(run), "--hide-ids", "-q"]) == 0
    for name in ("report.html", "predictions.parquet", "scores.csv", "folds.csv"):
        place = tmp_path / name
        place.write_bytes((run / name).read_bytes())
    (tmp_path / "tables").mkdir()
    for path in (run / "tables").iterdir():
        (tmp_path / "tables" / path.name).write_bytes(path.read_bytes())
    assert traces(tmp_path, PLANTED) == {}
    table = pd.read_parquet(run / "predictions.parquet")
    assert table["patient_id"].str.fullmatch(r"patient \d").all()


def test_a_known_pseudonym():
    key = bytes.fromhex("0b" * 20) + b"0123456789ab"
    expected = hmac.digest(key, "Müller".encode(), hashlib.sha256).hex()[:16]
    assert pseudonyms(["Müller"], key) == [f"p-{expected}"]
    assert pseudonyms(["Mu\u0308ller"], key) == [f"p-{expected}"]
    assert pseudonyms(["Müller"], key + b"x") != [f"p-{expected}"]
    with pytest.raises(ValueError, match="same pseudonym"):
        pseudonyms(["Müller", "Mu\u0308ller"], key)


@pytest.mark.parametrize(
    ("content", "mode", "message"),
    [
        (KEY, 0o644, "may be read by others"),
        (b"short", 0o600, "no usable key: 5 bytes"),
        (b"", 0o600, "no usable key: 0 bytes"),
        (b"a" * 64, 0o600, "1 different ones"),
        (b"ab12" * 2000, 0o600, "no usable key"),
        (None, 0o700, "no ordinary file"),
    ],
)
def test_keys_that_protect_nothing_are_refused(tmp_path, content, mode, message):
    path = tmp_path / "key"
    path.mkdir() if content is None else path.write_bytes(content)
    path.chmod(mode)
    with pytest.raises(ValueError, match=message):
        read_key(path)
    with pytest.raises(FileNotFoundError):
        read_key(tmp_path / "none")


def test_white_space_around_a_key_does_not_matter(tmp_path):
    for name, content in (("a", KEY), ("b", KEY + b"\r\n"), ("c", b" " + KEY + b"\n")):
        (tmp_path / name).write_bytes(content)
        (tmp_path / name).chmod(0o600)
        assert read_key(tmp_path / name) == KEY


def test_a_bad_key_is_told_before_anything_is_read(site, tmp_path, capsys):
    (tmp_path / "key").write_text("secret")
    (tmp_path / "key").chmod(0o600)
    words = ["prepare", str(site.manifest), "--shape", "16", "16", "16", "--spacing", "8"]
    out = tmp_path / "out"
    assert main([*words, "--out", str(out), "--pseudonymise", str(tmp_path / "key")]) == 2
    assert "no usable key" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("survimg fit --cohort /home/jane/a --out=/b/x", "survimg fit --cohort a --out=x"),
        ("[Errno 2] No such file: '/home/jane doe/a b.nii'", "[Errno 2] No such file: 'a b.nii'"),
        ('File "/usr/lib/python3/site.py", line 3', 'File "site.py", line 3'),
        (r"C:\Users\jane\x.csv is not CSV", "x.csv is not CSV"),
        ("~/secret/x.csv, ~jane/y/z", "x.csv, z"),
        ("../jane/x", "x"),
        ("--scheduler tcp://ward7:8786", "--scheduler tcp://..."),
        ("see https://scikit-learn.org/stable/a.html", "see https://scikit-learn.org/stable/a.html"),
        ("PET/CT at 1/2 mm, 3 / 4, a/b", "PET/CT at 1/2 mm, 3 / 4, a/b"),
        ({"a": ["/x/y/z", 3, None]}, {"a": ["z", 3, None]}),
    ],
)  # fmt: skip
def test_places_are_taken_out_of_texts(text, expected):
    assert without_places(text) == expected
