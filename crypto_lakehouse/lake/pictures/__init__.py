"""Pictures of the lake: candlesticks of a symbol, the coverage of a table, breadth and correlations of a market.

``candles.py``, ``coverage.py`` and ``cross_section.py`` read the data. Each picture is drawn by Plotly
(``*_plotly.py``: notebooks and HTML) and by matplotlib (``*_png.py``), which needs no browser. Both libraries are
imported when a picture is drawn, never before. The public methods are in ``reader/methods/pictures.py``.
"""
