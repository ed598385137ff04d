"""Archives of the exchanges: listing, downloading, verifying and unzipping their files.

All exchanges share one protocol (``model.py``); the layout of each archive has its own module (``binance.py``). The
sample archive and its server are in ``sample``. ``transforms`` parses the CSV files.
"""
