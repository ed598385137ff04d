"""Pictures of the lake: candlesticks of a symbol, and the coverage of a table.

``candles.py`` and ``coverage.py`` read the data. Each picture is drawn by Plotly (``*_plotly.py``: notebooks and HTML)
and by matplotlib (``*_png.py``), which needs no browser. Both libraries are imported when a picture is drawn, never
before. The public methods are in ``reader/methods/pictures.py``.
"""
