"""Values of pycox for test_bins.py: pip install pycox, then run this."""

import json
from pathlib import Path

import torch
from pycox.models.data import pair_rank_mat
from pycox.models.loss import DeepHitSingleLoss, NLLMTLRLoss, rank_loss_deephit_single

LOGITS = torch.tensor(
    [[0.1, -0.4, 0.9], [1.2, 0.3, -0.7], [-0.5, 0.8, 0.2], [0.0, 0.6, -1.1]]
)
# Bins of the times 0.5, 1.5, 2.5 and 1.5 between the cuts 1, 2 and 3. pycox counts a censored
# patient in the bin before the one that holds the time, of which nothing is known.
BINS, EVENT = torch.tensor([0, 1, 2, 1]), torch.tensor([1.0, 1.0, 0.0, 0.0])
CENSORED_BEFORE = torch.where(EVENT.bool(), BINS, BINS - 1)

if __name__ == "__main__":
    ranks = torch.tensor(pair_rank_mat(BINS.numpy(), EVENT.numpy()), dtype=torch.float32)
    values = {
        "mtlr": NLLMTLRLoss()(LOGITS, CENSORED_BEFORE, EVENT),
        "ranking": rank_loss_deephit_single(LOGITS, BINS, EVENT, ranks, sigma=0.1),
        "deephit": DeepHitSingleLoss(0.2, 0.1)(LOGITS, CENSORED_BEFORE, EVENT, ranks),
    }
    text = json.dumps({name: value.item() for name, value in values.items()}, indent=1)
    Path(__file__).with_name("interval_losses.json").write_text(f"{text}\n", "utf-8")
