"""The documentation site: reference pages that are generated from the code, and its checks.

`python -m website pages` writes the generated pages of `docs/reference`, `python -m website build`
builds the site into `build/site` and checks its links. Not part of the wheel.
"""
