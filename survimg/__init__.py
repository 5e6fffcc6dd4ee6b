"""scikit-learn compatible survival estimators over medical image volumes.

`Cohort` holds the patients; estimators are in `survimg.estimators`, feature extraction in
`survimg.radiomics`, splitters in `survimg.model_selection`, statistics in `survimg.evaluation`.
"""

from survimg.cohort import Cohort

__version__ = "0.1.0"

__all__ = ["Cohort", "__version__"]
