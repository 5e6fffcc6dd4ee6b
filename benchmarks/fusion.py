"""Single modalities against fusion, cross-validated: STS-51 (lung metastases) or phantoms.

    python benchmarks/fusion.py --sts51 ../shared/data/sts51_petgrid --iterations 300 \\
        --out runs/fusion

Every (row, seed, fold) is one small record under OUT/records, so that the same command continues
where it stopped. Writes predictions.csv, table.csv, table.json and table.md.

Labels on STS-51: lung metastasis as first failure by the end of follow-up (19 of 51, the published
definition of the data set); with --horizon DAYS patients lost before it are left out, but not those
who failed elsewhere first, whose label is known to be negative. Phantoms are
made without censoring, so that the status at the horizon (their median time by default) is known
for all, and the true log-hazard gives the row "oracle".
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shlex
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedKFold

from survimg.benchmark.identity import code_identity
from survimg.datasets import load_sts51, make_phantom_cohort
from survimg.evaluation import learn_cutoff
from survimg.preprocessing import Preparation, prepare
from survimg.radiomics import RadiomicsFeatures
from survimg.suites.fusion import ROWS, build_row, classification_table, labels_at_horizon
from survimg.target import make_outcome


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--sts51", type=Path)
    source.add_argument("--phantom", type=int, metavar="N")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rows", default=",".join(ROWS))
    parser.add_argument("--iterations", type=int, default=300)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--spacing", type=float, default=6.0, help="mm, of STS-51")
    parser.add_argument("--shell", type=float, default=12.0, help="mm")
    parser.add_argument("--patch", type=int, default=4)
    parser.add_argument("--embed", type=int, default=24)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--horizon", type=float)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def load(options):
    """Prepared cohort, labels, and the true risk of phantoms."""
    size = (options.size,) * 3
    competing = None
    if options.phantom:
        phantom = make_phantom_cohort(options.phantom, size, random_state=0, censoring=0.0)
        outcome = phantom.cohort.outcome
        horizon = options.horizon or float(np.median(outcome["time"]))
        cohort, oracle = phantom.cohort, phantom.oracle_risk
    else:
        raw = load_sts51(options.sts51, "lung_metastasis")
        cohort = prepare(raw, Preparation(shape=size, spacing=options.spacing))
        outcome, horizon, oracle = raw.outcome, options.horizon, None
        failed = load_sts51(options.sts51, "dfs").outcome["event"]
        competing = failed & ~outcome["event"]
    labels, known = labels_at_horizon(outcome, horizon, competing)
    kept = np.flatnonzero(known)
    return cohort[kept], labels[kept], None if oracle is None else oracle[kept]


def settings_of(options):
    return {
        "n_iterations": options.iterations, "learning_rate": options.learning_rate,
        "shell_width": options.shell, "patch_size": options.patch, "embed_dim": options.embed,
        "depths": (2, 2, 2), "heads": (2, 4, 8), "n_threads": options.threads,
    }  # fmt: skip


def fit_one(name, seed, cohort, labels, train, test, options):
    settings = settings_of(options) | {"random_state": seed}
    settings["extractor"] = RadiomicsFeatures(
        on_empty_mask="nan", memory=str(options.out / "radiomics")
    )
    started = time.perf_counter()
    model = build_row(name, settings).fit(cohort[train], labels[train])
    on_train = model.predict_proba(cohort[train])[:, 1]
    outcome = make_outcome(labels[train], np.ones(len(train)))
    return {
        "threshold": threshold_of(outcome, on_train),
        "probability": model.predict_proba(cohort[test])[:, 1].tolist(),
        "ids": cohort.ids[test].tolist(),
        "label": labels[test].astype(int).tolist(),
        "seconds": time.perf_counter() - started,
    }


def threshold_of(outcome, scores):
    """Youden's cut-off; NaN where the training scores do not vary."""
    if np.ptp(scores) == 0:
        return float("nan")
    return float(learn_cutoff(outcome, scores, "youden").threshold)


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.partial")
    partial.write_text(text, "utf-8")
    os.replace(partial, path)


def main():
    options = parse()
    cohort, labels, oracle = load(options)
    key = repr((sorted(settings_of(options).items()), cohort.fingerprint(), labels.tolist(),
                options.folds, code_identity()))  # fmt: skip
    folder = options.out / "records" / hashlib.sha256(key.encode()).hexdigest()[:12]
    parts = []
    for seed in options.seeds:
        folds = StratifiedKFold(options.folds, shuffle=True, random_state=seed)
        for fold, (train, test) in enumerate(folds.split(np.zeros(len(labels)), labels)):
            for name in options.rows.split(","):
                path = folder / f"{name}-{seed}-{fold}.json"
                if not path.exists():
                    record = fit_one(name, seed, cohort, labels, train, test, options)
                    write(path, json.dumps(record))
                    print(f"{name} seed {seed} fold {fold}: {record['seconds']:.0f} s", flush=True)
                record = json.loads(path.read_text("utf-8"))
                parts.append(pd.DataFrame({"row": name, "seed": seed, "fold": fold, **record}))
            if oracle is not None:
                parts.append(pd.DataFrame({
                    "row": "oracle", "seed": seed, "fold": fold, "ids": cohort.ids[test],
                    "label": labels[test].astype(int), "probability": oracle[test],
                    "threshold": learn_cutoff(
                        make_outcome(labels[train], np.ones(len(train))), oracle[train], "youden"
                    ).threshold,
                }))  # fmt: skip
    predictions = pd.concat(parts, ignore_index=True)
    table = classification_table(predictions)
    write(options.out / "predictions.csv", predictions.to_csv(index=False))
    write(options.out / "table.csv", table.to_csv(index=False))
    command = shlex.join(["python", *sys.argv])
    about = {"command": command, "seeds": options.seeds, "settings": settings_of(options),
             "code": code_identity()}
    write(options.out / "table.json", json.dumps(
        {**about, "table": table.to_dict("records")}, indent=1, default=str))  # fmt: skip
    lines = [f"`{about['command']}`", "",
             "| row | AUC, mean ± sd over folds | AUC of all (95 %) | ACC | SEN | SPE |",
             "|-|-|-|-|-|-|"]  # fmt: skip
    for row in table.to_dict("records"):
        cells = [
            f"{row[m]:.3f} ({row[m + '_lower']:.3f} to {row[m + '_upper']:.3f})".replace("nan", "–")
            for m in ("auc", "acc", "sen", "spe")
        ]
        folds = f"{row['auc_folds']:.3f} ± {row['auc_folds_sd']:.3f}".replace("nan", "–")
        lines.append(f"| {row['row']} | {folds} | {' | '.join(cells)} |")
    write(options.out / "table.md", "\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
