"""Models that the papers of the other suites do not compare with."""

from __future__ import annotations

from survimg.suites.suite import Suite

__all__ = ["BEYOND_SUITES"]

# ICARE's concordance of 0.682 is that of HECKTOR 2022's test patients: another cohort, and other
# features; it is not repeated here, because a column of published numbers would suggest the same.
BEYOND_SUITES = (
    Suite(
        name="beyond",
        title="Methods that the papers do not compare with",
        models=(
            "clinical-volume-cox",
            "radiomics-lasso-cox",
            "radiomics-icare-single",
            "radiomics-icare",
            "deepmts",
            "deepmts-mtlr",
            "deepmts-deephit",
            "deepmts-two-stages",
        ),
        reference="clinical-volume-cox",
        published={},
        citation=(
            "ICARE: Rebaud L, Escobar T, Khalid F, Girum K, Buvat I. Simplicity is all you need: "
            "out-of-the-box nnUNet followed by binary-weighted radiomic model for segmentation and "
            "outcome prediction in head and neck PET/CT. HECKTOR 2022, LNCS 13626:121-134, 2023. "
            "MTLR: Yu CN, Greiner R, Lin HC, Baracos V. NeurIPS 24, 2011; DeepHit: Lee C, Zame WR, "
            "Yoon J, van der Schaar M. AAAI 32, 2018: both as losses on the network of DeepMTS, "
            "beside its Dice loss, which neither paper does. Two stages: the order of training of "
            "AdaMSS (Meng M, et al. npj Precis Oncol 8:232, 2024) on the network of DeepMTS, with "
            "the Cox loss; not AdaMSS' own network."
        ),
    ),
)
