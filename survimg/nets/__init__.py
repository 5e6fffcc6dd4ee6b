"""Published survival networks in plain torch, one network per file, usable without the estimators.

Import each network from its own module, for example
``from survimg.nets.deepmts import DeepMTSNet``; importing this package does not import torch.

All networks share these conventions:

- volumes have the axes ``(case, channel, d0, d1, d2)``, as stored in a cohort ``(z, y, x)``;
- clinical values are ``(case, variable)``, float, encoded and complete;
- the constructor draws every initial weight from its `generator` and leaves torch's global
  generator alone when one is given;
- risk is one number per case, higher = earlier event.
"""
