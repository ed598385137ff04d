"""Archives of the exchanges: listing, downloading, verifying and unzipping, a sample archive and a server for it.

One source protocol (``model.py``), one module per exchange. What the CSV inside means is not known here.
"""
