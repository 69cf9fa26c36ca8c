"""The story that `make demo` tells: the main job on azurelab, told in plain words and checked at every turn.

The one room of holdfast that starts azurelab; it drives both programs from outside, by their commands, ARM and HTTP.
"""
