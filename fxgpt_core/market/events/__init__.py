"""The economic calendar: releases read from files, stored, queried."""
