"""
Saliency, compared with that of an untrained network
====================================================

Where in the image does the risk come from? Every map looks convincing, so compare it with
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
# Integrated gradients distribute the risk over the voxels: a map adds up to the patient's risk
# minus that of an empty image. The error is what the numerical integration lacks of this sum.
few = test[:6]
trained = integrated_gradients(model, few, n_steps=24)
for score, baseline, error in zip(
    trained.score, trained.baseline_score, trained.completeness_error, strict=True
):
    print(f"risk {score:+.2f}, empty image {baseline:+.2f}, sum of the map off by {error:.3f}")

# %%
# Red raises the risk, blue lowers it; the outline is the tumour mask, which the network never saw.
# The planes pass through the strongest voxel. After so short a training it may be in the bladder,
# which is bright too. Maps help to find such mistakes.
patient = int(trained.score.argmax())
label = "contribution to the risk"
picture = plot_saliency(few, patient, trained.maps[patient], label=label)

# %%
# How much of the map lies in the tumour, compared with the tumour's share of the volume? A ratio of
# 1 means no preference for the tumour. A network with random weights is well above 1 too, because
# bright structures have large gradients in any network. Only the difference is due to the training.
masks = [few.mask(i) for i in range(len(few))]
random = integrated_gradients(untrained, few, n_steps=24)
for name, maps in {"trained": trained.maps, "random weights": random.maps}.items():
    print(f"{name}: ratio {mass_in_region(maps, masks)['ratio'].median():.1f}")

# %%
# :doc:`/explanations` lists what has been checked about these maps, and their limits.
