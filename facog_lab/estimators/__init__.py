"""The lab on plain arrays, with the interface of scikit-learn and imbalanced-learn."""
