"""The REST service: read only and thin. It calls ``Lakehouse`` and turns frames and streams into answers.

``tokens.py`` and ``config.py`` need no package of the extra ``serve``, so commands can use them. The rest is loaded by
``server.py``. How rows are read and computed is in ``lake/reader``; the commands are in ``cli/serve.py``.
"""
