"""
DeepMTS: risk and tumour mask from one network
==============================================

One network segments the tumour and predicts the risk. Here it is trained for seconds, which is
enough to find the tumour but not to rank patients well: 40 steps of 4 patients on volumes
of 16 x 32 x 32 voxels. The default is 400 steps. The paper's training (``DeepMTS.published()``)
takes 15,000 steps of 8 patients on volumes of up to 128 voxels a side; it needs a GPU and hundreds
of patients.
"""

# %%
# Fewer steps, smaller batches and less averaging than by default keep this example short.
import matplotlib.pyplot as plt
import numpy as np

from survimg.datasets import make_phantom_cohort
from survimg.estimators import DeepMTS
from survimg.evaluation import concordance_index, dice

X = make_phantom_cohort(n=60, shape=(16, 32, 32), random_state=0).cohort
train, test = X[:40], X[40:]
model = DeepMTS(
    n_iterations=40,
    batch_size=4,
    batch_norm_batches=10,
    iterations_per_epoch=5,
    n_threads=1,
    random_state=0,
)
model.fit(train, train.outcome)

# %%
# Always look at the training curve. The Dice loss falls steadily; the Cox loss varies from
# batch to batch, because each batch has another risk set.
figure, axes = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
for ax, term in zip(axes, ["dice", "cox"], strict=True):
    ax.plot(model.history_["iteration"], model.history_[term])
    ax.set(xlabel="step", title=f"{term} loss")

# %%
# Masks of patients that the network has not seen, and how well they agree with the truth.
masks = model.predict_mask(test)
overlap = [dice(test.mask(i), masks[i]) for i in range(len(test))]
print(f"Dice of {len(test)} test patients: median {np.median(overlap):.2f}")

order = np.argsort(overlap)
figure, axes = plt.subplots(1, 3, figsize=(9, 3.4), layout="constrained")
patients = {"worst": order[0], "median": order[len(order) // 2], "best": order[-1]}
for ax, (name, i) in zip(axes, patients.items(), strict=True):
    z = test.mask(i).sum(axis=(1, 2)).argmax()
    ax.imshow(test.volume(i)[0, z], cmap="gray_r")
    ax.contour(test.mask(i)[z], [0.5], colors="tab:green")
    if masks[i][z].any():
        ax.contour(masks[i][z], [0.5], colors="tab:red", linestyles="dashed")
    ax.set(title=f"{name}: Dice {overlap[i]:.2f}", xticks=[], yticks=[])
# sphinx_gallery_thumbnail_number = 2
figure.suptitle("PET of test patients; green: true outline, red: predicted")
plt.show()

# %%
# Twenty patients are few, as the wide interval shows. ``predict`` is higher for an
# earlier event; survival curves use a Breslow baseline hazard of the training patients.
risk = model.predict(test)
print(concordance_index(test.outcome, risk, confidence_interval="analytic"))
curves = model.predict_survival_function(test, return_array=True)
at_24 = curves[:, np.searchsorted(model.unique_times_, 24, side="right") - 1]
print("S(24 months):", np.round(np.sort(at_24), 2))
