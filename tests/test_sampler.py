from imblearn.utils.estimator_checks import parametrize_with_checks

from facog_lab.sampler import FeatureOversampler


@parametrize_with_checks(
    [
        FeatureOversampler(n, steps=3, random_state=0)
        for n in ("facog", "smote", "gamo", "tailcalib")
    ]
)
def test_c(estimator, check, request):
    check(estimator)
