"""Drift: has the market moved away from the data that a model was trained on? (SPEC 13)"""
