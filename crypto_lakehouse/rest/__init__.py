"""The client of REST APIs: requests, their windows, the budget of weights, and answers as they came.

What the endpoints are is in ``catalog/rest.py``; what to request and what to store, in ``pipeline``.
"""
