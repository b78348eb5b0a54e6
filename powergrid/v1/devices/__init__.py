"""v1's devices."""

from powergrid.v1.actions import Action
from powergrid.v1.devices.base import Device
from powergrid.v1.devices.compensation import Shunt
from powergrid.v1.devices.generator import DG, RES
from powergrid.v1.devices.grid import Grid
from powergrid.v1.devices.storage import ESS
from powergrid.v1.devices.switch import Switch
from powergrid.v1.devices.transformer import Transformer
from powergrid.v1.state import DeviceState

__all__ = ["DG", "RES", "ESS", "Shunt", "Transformer", "Grid", "Switch", "Device", "Action", "DeviceState"]
