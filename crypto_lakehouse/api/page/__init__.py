"""The page to look at the lake in a browser, at ``/`` of the REST service: HTML from templates, with little JavaScript.

``entry.py`` handles cookies, headers and errors around the whole application, ``rendering.py`` templates and files,
``routes.py`` the pages; ``coverage.py`` and ``candles.py`` prepare what the two charts draw. The rows are those of
``Lakehouse``; who may read them is decided in ``api/access.py`` and ``api/scopes.py``.
"""
