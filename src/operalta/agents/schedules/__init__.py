"""Schedules: runs that begin by themselves, at times of their owner's own clock."""
