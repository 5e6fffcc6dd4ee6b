"""
The same cross-validation on a Dask cluster
===========================================

Everything that uses joblib runs on a cluster inside ``dask_cluster``, with identical
scores. Here the cluster is two processes on this machine; :doc:`/scaling` explains how to use
several machines and SLURM.
"""

# %%
# A script that starts processes needs the ``if __name__ == "__main__"`` at its end. ``n_threads=1``
# makes results in a worker identical to those in the main process, which may have more threads.
import logging
import tempfile
import time

import matplotlib.pyplot as plt
import numpy as np
from distributed import Client, LocalCluster
from sklearn.model_selection import cross_val_score

from survimg import Cohort
from survimg.compute import dask_cluster
from survimg.datasets import make_phantom_cohort
from survimg.estimators import CNNSurvival
from survimg.model_selection import EventStratifiedKFold


def main() -> None:
    model = CNNSurvival(
        n_iterations=20, width=8, batch_norm_batches=2, n_threads=1, random_state=0
    )
    folds = EventStratifiedKFold(n_splits=4, shuffle=True, random_state=0)
    with tempfile.TemporaryDirectory() as folder:
        # Workers receive the path of a saved cohort: some hundred bytes instead of all voxels.
        X: Cohort = make_phantom_cohort(n=48, shape=(18, 18, 18), random_state=0).cohort.save(
            f"{folder}/cohort"
        )
        here = cross_val_score(model, X, X.outcome, cv=folds)
        with (
            LocalCluster(
                n_workers=2,
                threads_per_worker=1,
                dashboard_address=":0",
                silence_logs=logging.ERROR,
            ) as cluster,
            Client(cluster) as client,
            dask_cluster(client),
        ):
            start = time.perf_counter()
            there = cross_val_score(model, X, X.outcome, cv=folds)
            seconds = time.perf_counter() - start
    print("here:          ", here.round(4))
    print("on the cluster:", there.round(4), f"({seconds:.0f} s, most of it loading torch)")
    print("equal to the bit:", np.array_equal(here, there))
    ax = plt.figure(figsize=(5, 3), layout="constrained").add_subplot()
    ax.plot(here, "o", markersize=12, fillstyle="none", label="here")
    ax.plot(there, "x", label="on the cluster")
    ax.set(xlabel="fold", ylabel="C", xticks=range(len(here)))
    ax.legend()
    plt.show()


if __name__ == "__main__":
    main()
