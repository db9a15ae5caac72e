"""Stages that are kept: folders of runs, resuming, several processes, replays, presets."""
