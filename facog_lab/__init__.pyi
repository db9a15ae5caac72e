# What `facog_lab.NAME` is, for type checkers; `__init__.py` imports each when it is first used.
from facog_lab.config import LabError as LabError
from facog_lab.data.arrays import make_long_tailed as make_long_tailed
from facog_lab.dataset import LongTailed as LongTailed
from facog_lab.dictionary import FeatureDictionary as FeatureDictionary
from facog_lab.estimators.oversampler import FeatureOversampler as FeatureOversampler
from facog_lab.phase1 import Phase1 as Phase1
from facog_lab.phase2 import Phase2 as Phase2
from facog_lab.registry import register_dataset as register_dataset
from facog_lab.registry import register_head as register_head
from facog_lab.registry import register_oversampler as register_oversampler
from facog_lab.rivals.objectives import register_loss as register_loss
from facog_lab.runs import open as open_lab  # noqa: F401
from facog_lab.runs.experiment import Experiment as Experiment
from facog_lab.runs.methods import run as run_method  # noqa: F401
from facog_lab.runs.presets import experiment as experiment
from facog_lab.runs.stages import Lab as Lab

__version__: str
