"""Train and measure image classifiers under changes of their input's frequencies.

Dimension letters used in every docstring: B batch, V views, C channels, H W pixels, K classes,
N images of a set, D features, R radial bins.

Pixels are float32 in [0,1] everywhere outside the model; the model's first layer normalises.
"""

__version__ = "0.1.0"
