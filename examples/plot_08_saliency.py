"""
Saliency, and a check that it means something
=============================================

Where in the image does the risk come from? A map always looks like an answer, so compare it with
that of a network that has learned nothing.
"""

# %%
# In these phantoms the risk depends on the tumour's volume and uptake alone. The network sees no
# masks and no clinical columns: it has to find the tumour by itself, from outcomes.
from sklearn.base import clone

from survimg.datasets import make_phantom_cohort
from survimg.estimators import DeepMTS
from survimg.explain import integrated_gradients, mass_in_region, plot_saliency

X = make_phantom_cohort(
    n=100, shape=(16, 32, 32), random_state=0, effects={"volume": 1.5, "uptake": 1.5}
).cohort
train, test = X[:60], X[60:]
model = DeepMTS(
    variant="sur-hs", clinical_columns=[], n_iterations=40, batch_size=4, batch_norm_batches=10,
    n_threads=1, random_state=0,
)  # fmt: skip
untrained = clone(model).set_params(n_iterations=1, learning_rate=1e-12)
model.fit(train, train.outcome)
untrained.fit(train, train.outcome)
print(f"test patients: C = {model.score(test, test.outcome):.2f}")

# %%
# Integrated gradients share the risk out among the voxels: a map adds up to the patient's risk less
# that of an empty image. The error says how far the numerical integration is from doing so.
few = test[:6]
found = integrated_gradients(model, few, n_steps=24)
for score, baseline, error in zip(
    found.score, found.baseline_score, found.completeness_error, strict=True
):
    print(f"risk {score:+.2f}, empty image {baseline:+.2f}, sum of the map off by {error:.3f}")

# %%
# Red raises the risk, blue lowers it; the outline is the tumour mask, which the network never saw.
# The planes pass through the strongest voxel. Look where that is: after so short a training it may
# well be the bladder, which is hot too. To find such things is what maps are good for.
patient = int(found.score.argmax())
picture = plot_saliency(few, patient, found.maps[patient])

# %%
# How much of the map lies in the tumour, compared with the tumour's share of the volume? A ratio of
# 1 knows nothing. A network with random weights is well above 1 too, because bright structures
# attract gradients whatever a network has learned. Only the difference speaks for the training.
masks = [few.mask(i) for i in range(len(few))]
blind = integrated_gradients(untrained, few, n_steps=24)
for name, maps in {"trained": found.maps, "random weights": blind.maps}.items():
    print(f"{name}: ratio {mass_in_region(maps, masks)['ratio'].median():.1f}")

# %%
# :doc:`/explanations` says what has been checked about these maps, and what they cannot tell.
