"""Make every bad input and every death, and write what happened into docs/reliability.md.

    python tests/chaos/chaos.py [PART ...]

Parts are inputs, streams, mutations, stored, directed, prepare, radiomics, benchmark, training and
others (the commands that write in one step).

Without a part, all of them. Each part leaves its rows in tests/chaos/results, and the document is
made from what lies there. "inputs:TEXT" draws only the inputs of groups whose name holds the text,
"others:TEXT" only kills the commands whose name does; their rows take the place of the old ones.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy and torch are loaded: forks follow
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import contextlib
import multiprocessing
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd

HERE = Path(__file__).parent
RESULTS = HERE / "results"
DOCUMENT = HERE.parents[1] / "docs" / "reliability.md"
PARTS = (
    "inputs", "streams", "mutations", "stored", "directed", "prepare", "radiomics", "benchmark",
    "training", "others",
)  # fmt: skip
#: Mutated image files.
N_MUTATIONS = 50_000
#: Damaged model folders, records, caches and checkpoints.
N_STORED = 20_000
#: Kills, trials of a full disk, pairs of runs.
PLAN = {"prepare": (28, 8, 4), "radiomics": (28, 6, 4), "benchmark": (28, 8, 4),
        "training": (20, 5, 2), "others": (16, 3, 2)}
KILLS = ("SIGKILL", "SIGTERM", "Ctrl-C", "Ctrl-C twice")
START, END = "<!-- made by tests/chaos/chaos.py from here on -->", "<!-- to here -->"


def inputs(groups: str = "") -> list[dict]:
    """Draw every kind of bad input of some groups as often as it says."""
    from dicom_faults import FAULTS as DICOM
    from fault import attempt
    from image_faults import FAULTS as IMAGES
    from table_faults import FAULTS as TABLES

    rows = []
    for fault in (*DICOM, *IMAGES, *TABLES):
        if groups not in fault.group:
            continue
        found: dict[str, int] = {}
        wrong = []
        for seed in range(fault.trials):
            with tempfile.TemporaryDirectory() as name:
                result = attempt(fault, Path(name), seed)
            found[result.what] = found.get(result.what, 0) + 1
            if not result.handled:
                wrong.append(f"{result.what}: {result.message}")
        what = "; ".join(
            text if len(found) == 1 else f"{count} {text}" for text, count in found.items()
        )
        named = ", ".join(f"`{name}`" for name in fault.named)
        rows.append({
            "group": fault.group, "fault": fault.name, "trials": fault.trials,
            "wrong": len(wrong), "what": f"{what}, naming {named}" if named else what,
        })
        sys.stderr.writelines(f"{fault.group}, {fault.name}: {text}\n" for text in wrong[:2])
    return rows


def deaths(part: str, names: str = "") -> list[dict]:
    """Kill, starve and double one command, or the others whose name holds a text."""
    import commands
    from one_step_commands import COMMANDS, one_step_command

    with tempfile.TemporaryDirectory() as name:
        inputs = Path(name) / "inputs"
        if part != "others":
            command = getattr(commands, f"{part}_command")(inputs)
            if part == "radiomics":  # compile before the forks
                command.run(_made(Path(name) / "warm"))
            return _deaths_of(command, _made(Path(name) / "deaths"), PLAN[part])
        rows = []
        for other in (each for each in COMMANDS if names in each):
            command = one_step_command(other, inputs)
            place = Path(name) / other.replace(" ", "")
            rows += _deaths_of(command, _made(place), PLAN[part])
        return rows


def _deaths_of(command: Any, folder: Path, plan: tuple[int, int, int]) -> list[dict]:
    from kills import at_the_same_time, disk_full, killed, measure, read_only

    n_kills, n_full, n_pairs = plan
    folder.chmod(0o755)
    measure(command, folder / "whole")
    rows = killed(command, folder / "kills", n_kills, seed=0)
    rows.append(disk_full(command, folder, n_full, seed=1))
    rows.append(read_only(command, folder))
    rows.append(at_the_same_time(command, folder, n_pairs, seed=2))
    return [vars(row) for row in rows]


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _run_part(part: str) -> None:
    started, cpu = time.monotonic(), time.process_time()
    part, _, groups = part.partition(":")
    if part == "mutations":
        from fuzz import main as mutations

        mutations(N_MUTATIONS, [])
        return
    if part == "directed":
        from directed_models import main as directed

        directed()
        return
    if part == "stored":
        from stored import main as stored

        stored(N_STORED, [])
        return
    if part == "streams":
        import streams

        for name, rows in (("flips", streams.flips()), ("bombs", streams.bombs())):
            pd.DataFrame(rows).to_csv(RESULTS / f"{name}.csv", index=False)
        return
    rows = inputs(groups) if part == "inputs" else deaths(part, groups)
    times = os.times()
    seconds = time.process_time() - cpu + times.children_user + times.children_system
    table = pd.DataFrame(rows)
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{part}.csv"
    if groups and path.is_file():
        before = pd.read_csv(path)
        column = "group" if part == "inputs" else "command"
        rest = before[~before[column].str.contains(groups, regex=False)]
        pd.concat([table, rest]).to_csv(path, index=False)
    else:
        table.to_csv(path, index=False)
    sys.stdout.write(
        f"{part}: {table['trials'].sum()} trials, {seconds:.0f} s of CPU, "
        f"{time.monotonic() - started:.0f} s\n"
    )


def write_document() -> int:
    """Put the tables into the document; return the number of faults that were not handled."""
    names = (*PARTS, "flips", "bombs")
    found = {part: pd.read_csv(RESULTS / f"{part}.csv") for part in names
             if (RESULTS / f"{part}.csv").is_file()}
    lines, wrong = _streams(found), 0
    deaths = [table for part, table in found.items() if part in PLAN]
    if deaths:
        table = pd.concat(deaths)
        kills = int(table["trials"][table["fault"].isin(KILLS)].sum())
        wrong += int(table["losses"].sum())
        lines += [
            f"## Deaths: {kills} kills, {int(table['losses'].sum())} losses", "",
            "| command | what happened to it | trials | losses | outcome |",
            "|---|---|---|---|---|",
            *(f"| {r.command} | {r.fault} | {r.trials} | {r.losses} | {_cell(r.what)} |"
              for r in table.itertuples()), "",
        ]
    if "inputs" in found:
        table = found["inputs"]
        wrong += int(table["wrong"].sum())
        lines += [
            f"## Bad inputs: {len(table)} kinds, {int(table['trials'].sum())} trials, "
            f"{int(table['wrong'].sum())} not handled", "",
            "| input | trials | not handled | outcome |", "|---|---|---|---|",
            *(f"| {r.group}: {_cell(r.fault)} | {r.trials} | {r.wrong} | {_cell(r.what)} |"
              for r in table.itertuples()), "",
        ]
    if "mutations" in found:
        table = found["mutations"]
        bad = table[["WRONG", "LEAK", "UNNAMED", "LEFT", "HANG", "CRASH"]]
        wrong += int(bad.to_numpy().sum())
        lines += [
            f"## Mutations: {int(table['files'].sum())} files, {int(bad.to_numpy().sum())} not "
            "handled", "",
            "| format | files | refused | equal to an independent reader | read by survimg alone "
            "| silently different | voxels from outside | refused without a name | files left "
            "| hangs | crashes |",
            "|---" * 11 + "|",
            *(f"| {r.format} | {r.files} | {r.refused} | {r.equal} | {r.unchecked} | {r.WRONG} "
              f"| {r.LEAK} | {r.UNNAMED} | {r.LEFT} | {r.HANG} | {r.CRASH} |"
              for r in table.itertuples()), "",
        ]
    if "stored" in found:
        table = found["stored"]
        bad = table[["OTHER ERROR", "DIFFERENT", "HANG", "CRASH", "TRIAL FAILED"]]
        wrong += int(bad.to_numpy().sum())
        lines += [
            f"## Damaged model folders, records, runs, cohorts and checkpoints: "
            f"{int(table['trials'].sum())} files, {int(bad.to_numpy().sum())} not handled", "",
            f"`python tests/chaos/stored.py {N_STORED}`, seeds from 0 for each line. Each time one "
            "file of a folder was damaged, and the folder read and used.", "",
            "| what | files | refused | counts as none | equal to the original | valid, of another "
            "content (checksums made to fit) | an error in use (likewise) | other errors "
            "| silently different | hangs | crashes |",
            "|---" * 11 + "|",
            *("| " + " | ".join(map(str, row[:-1])) + " |"
              for row in table.itertuples(index=False, name=None)), "",
        ]
    if "directed" in found:
        table = found["directed"]
        bad = table[["not refused by name", "crash", "other in the second run"]]
        wrong += int(bad.to_numpy().sum())
        lines += [
            f"## Numbers of model files: {int(table['changes'].sum())} changes, "
            f"{int(bad.to_numpy().sum())} not handled", "",
            "Every number and array that a class stores was changed one at a time (0, -1, 2^31, "
            "NaN, one more, one less, other types and shapes), and the model used. What differs is "
            "a number that may be so, such as a coefficient; as a file whose checksum was not made "
            "to fit each of them is refused. Two runs, with other patterns in fresh memory: an "
            "answer that differs between them would have been read from it. "
            "(`python tests/chaos/directed_models.py`, nothing is drawn at random.)", "",
            "| class | changes | refused | equal | differs | an error in use | refused without a "
            "name | crashes | other in the second run |",
            "|---" * 9 + "|",
            *("| " + " | ".join(map(str, row)) + " |"
              for row in table.itertuples(index=False, name=None)), "",
        ]
    text = DOCUMENT.read_text("utf-8")
    head, _, rest = text.partition(START)
    tail = rest.partition(END)[2]
    DOCUMENT.write_text(f"{head}{START}\n\n" + "\n".join(lines) + f"\n{END}{tail}", "utf-8")
    return wrong


def _streams(found: dict[str, pd.DataFrame]) -> list[str]:
    lines = []
    if "flips" in found:
        lines += [
            "## One flipped bit in the compressed voxels", "",
            "| format | files | refused | right voxels | other voxels |", "|---" * 5 + "|",
            *(f"| {r.format} | {r.trials} | {r.refused} | {r.right} | {r.different} |"
              for r in found["flips"].itertuples()), "",
        ]
    if "bombs" in found:
        lines += [
            "## What refusing a bomb costs", "",
            "| file | CPU time | memory above the imported library's | all memory | refusal |",
            "|---" * 5 + "|",
            *(f"| {_cell(r.bomb)} | {r.seconds} s | {r.above} MB | {r.peak} MB | {_cell(r.said)} |"
              for r in found["bombs"].itertuples()), "",
        ]
    return lines


def _cell(text: str) -> str:
    return str(text).replace("|", "\\|").replace("<", "&lt;")


def main(parts: list[str]) -> int:
    """Run the parts, each in a process of its own, and write the document."""
    unknown = {part.partition(":")[0] for part in parts} - set(PARTS)
    if unknown:
        sys.stderr.write(f"Parts are {', '.join(PARTS)}; got {', '.join(sorted(unknown))}.\n")
        return 2
    failed = False
    for part in parts or PARTS:
        process = multiprocessing.get_context("spawn").Process(target=_run_part, args=(part,))
        process.start()
        process.join()
        failed |= process.exitcode != 0
    wrong = write_document()
    sys.stdout.write(f"{DOCUMENT}: {wrong} faults not handled\n")
    return int(failed or wrong > 0)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main(sys.argv[1:]))
    sys.exit(130)
