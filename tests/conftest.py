"""For all tests."""

from hypothesis import settings

# time is only a guard against hanging: a machine that does other things fails no test by being slow
settings.register_profile("stationhub", deadline=None)
settings.load_profile("stationhub")
