"""`hub simulate`: a fleet of stations and its operators' browsers, to load a hub and to judge it."""
