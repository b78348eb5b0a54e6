"""Solar plant: sun position, modules and inverter, driven by weather."""

from __future__ import annotations

from math import cos, pi, radians, sin
from typing import NamedTuple

import numpy as np
from pydantic import AliasChoices, Field

from powergrid.agents.device_agent import DeviceSettings, LinearDevice
from powergrid.core.backend import Namespace
from powergrid.core.types import Array, Injection
from powergrid.devices._offered import Command, Offered, Plant, State, deliver
from powergrid.devices._shared import inside, outdoor
from powergrid.plugins import register_device

_BRIGHTEST_W_M2 = 1500.0
"""No irradiance is larger, clouds that reflect included [W/m2]."""
_ETA_REFERENCE = 0.9637
"""Efficiency of the inverter whose curve the model takes [1]."""


class Settings(Offered, DeviceSettings):
    """Parameters of a plant; the place is that of the embedded year's weather."""

    p_max_mw: float = Field(
        0.1,
        gt=0,
        validation_alias=AliasChoices("p_max_mw", "p_max"),
        description="largest power of the inverter on the side of the grid [MW]",
    )
    dc_ac_ratio: float = Field(1.2, gt=0, le=3, description="power of the modules (1000 W/m2, 25 degC) over that [1]")
    tilt_degree: float = Field(25.0, ge=0, le=90, description="tilt of the modules against the horizontal [degree]")
    azimuth_degree: float = Field(180.0, ge=0, le=360, description="where they face, clockwise from north [degree]")
    latitude_degree: float = Field(36.1, ge=-90, le=90, description="latitude, north positive [degree]")
    longitude_degree: float = Field(-79.95, ge=-180, le=180, description="longitude, east positive [degree]")
    utc_offset_h: float = Field(-5.0, ge=-12, le=14, description="standard time of the place minus UTC [h]")
    albedo: float = Field(0.25, ge=0, le=1, description="share of the sunlight that the ground reflects [1]")
    loss_share: float = Field(
        0.14, ge=0, lt=1, description="losses between modules and inverter: soiling, shading, wiring, mismatch [1]"
    )
    temperature_coefficient_per_k: float = Field(
        -0.0035, ge=-0.02, le=0, description="change of the modules' power with their temperature [1/K]"
    )
    u0_w_m2_k: float = Field(25.0, gt=0, description="heat loss of the modules in still air [W/(m2 K)]")
    u1_w_s_m3_k: float = Field(6.84, ge=0, description="rise of that loss with the wind [W s/(m3 K)]")
    wind_speed_m_s: float = Field(1.0, ge=0, le=60, description="wind at the modules, without a series [m/s]")
    eta_inverter: float = Field(0.96, gt=0, le=0.98, description="efficiency of the inverter at its largest power [1]")
    ghi_series: str = Field("ghi_w_m2", description="dataset column of the global horizontal irradiance [W/m2]")
    dni_series: str = Field("dni_w_m2", description="dataset column of the direct normal irradiance [W/m2]")
    temp_series: str = Field("ambient_temp_c", description="dataset column of the air temperature [degC]")
    wind_series: str | None = Field(None, description="dataset column of the wind at the modules [m/s]")
    curtailable: bool = Field(True, description="whether commands may reduce its power below what is available")
    sn_mva: float | None = Field(
        None, gt=0, description="inverter rating [MVA]; given, power is held below it and reactive power is offered"
    )

    @property
    def p_dc_mw(self) -> float:
        """Power of the modules at 1000 W/m2, after losses [MW]."""
        return self.dc_ac_ratio * (1.0 - self.loss_share) * self.p_max_mw

    @property
    def latitude_sin(self) -> float:
        """Sine of the latitude."""
        return sin(radians(self.latitude_degree))

    @property
    def latitude_cos(self) -> float:
        """Cosine of the latitude."""
        return cos(radians(self.latitude_degree))

    @property
    def noon_sin(self) -> float:
        """Sine of the angle by which the sun is ahead of the clock."""
        return sin(radians(self.longitude_degree - 15.0 * self.utc_offset_h))

    @property
    def noon_cos(self) -> float:
        """Cosine of the angle by which the sun is ahead of the clock."""
        return cos(radians(self.longitude_degree - 15.0 * self.utc_offset_h))

    @property
    def normal_east(self) -> float:
        """Direction in which the modules face, its part to the east [1]."""
        return sin(radians(self.tilt_degree)) * sin(radians(self.azimuth_degree))

    @property
    def normal_north(self) -> float:
        """Direction in which the modules face, its part to the north [1]."""
        return sin(radians(self.tilt_degree)) * cos(radians(self.azimuth_degree))

    @property
    def normal_up(self) -> float:
        """Direction in which the modules face, its part upwards [1]."""
        return cos(radians(self.tilt_degree))

    @property
    def sky_view(self) -> float:
        """Share of the diffuse irradiance that modules receive from the sky [1]."""
        return 0.5 * (1.0 + self.normal_up)

    @property
    def ground_view(self) -> float:
        """Share of the global irradiance that modules receive from the ground [1]."""
        return 0.5 * self.albedo * (1.0 - self.normal_up)

    @property
    def still_wind_m_s(self) -> float:
        """Wind at the modules [m/s], zero where a series gives it."""
        return self.wind_speed_m_s if self.wind_series is None else 0.0

    @property
    def by_series(self) -> float:
        """One where a series gives the wind, else zero."""
        return 0.0 if self.wind_series is None else 1.0


class Exogenous(NamedTuple):
    """Weather, and phases of day and year [1]; the wind's series counts only where the settings name one."""

    ghi_w_m2: Array
    dni_w_m2: Array
    ambient_temp_c: Array
    wind_speed_m_s: Array
    day_sin: Array
    day_cos: Array
    year_sin: Array
    year_cos: Array


def sun(xp: Namespace, params: Settings, exogenous: Exogenous, dt_h: float) -> tuple[Array, Array, Array]:
    """Direction of the sun in the middle of the tick: its parts to the east, to the north and upwards [1].

    Declination and equation of time are Spencer's series in the phase of the year ("Fourier series representation of
    the position of the sun", Search 2(5), 1971); the direction follows from latitude and hour angle, e.g. Duffie and
    Beckman, "Solar Engineering of Thermal Processes", section 1.6. No refraction.
    """
    s, c = exogenous.year_sin, exogenous.year_cos
    s_2, c_2 = 2.0 * s * c, c * c - s * s
    s_3, c_3 = s_2 * c + c_2 * s, c_2 * c - s_2 * s
    declination = 0.006918 - 0.399912 * c + 0.070257 * s - 0.006758 * c_2 + 0.000907 * s_2 - 0.002697 * c_3
    declination_sin = _sine(declination + 0.00148 * s_3)
    declination_cos = xp.sqrt(1.0 - declination_sin * declination_sin)
    ahead = 0.0000075 + 0.001868 * c - 0.032077 * s - 0.014615 * c_2 - 0.040849 * s_2 + pi / 24.0 * dt_h
    late_sin = _sine(ahead)
    late_cos = xp.sqrt(1.0 - late_sin * late_sin)
    turn_sin = params.noon_sin * late_cos + params.noon_cos * late_sin
    turn_cos = params.noon_cos * late_cos - params.noon_sin * late_sin
    # the hour angle is counted from noon, the phase of the day from midnight
    hour_sin = -(exogenous.day_sin * turn_cos + exogenous.day_cos * turn_sin)
    hour_cos = -(exogenous.day_cos * turn_cos - exogenous.day_sin * turn_sin)
    east = -declination_cos * hour_sin
    north = params.latitude_cos * declination_sin - params.latitude_sin * declination_cos * hour_cos
    up = params.latitude_sin * declination_sin + params.latitude_cos * declination_cos * hour_cos
    return east, north, up


def _sine(angle: Array) -> Array:
    """Sine of an angle within half a radian [rad], to 1e-11: kernels know no trigonometry."""
    x = angle * angle
    return angle * (1.0 - x / 6.0 * (1.0 - x / 20.0 * (1.0 - x / 42.0 * (1.0 - x / 72.0))))


def irradiance(xp: Namespace, params: Settings, exogenous: Exogenous, dt_h: float) -> Array:
    """Irradiance on the modules [W/m2]: direct, diffuse from an isotropic sky, and reflected by the ground.

    ``dni max(cos aoi, 0) + dhi (1 + cos tilt) / 2 + ghi albedo (1 - cos tilt) / 2`` with the diffuse part
    ``dhi = ghi - dni cos z``: Loutzenhiser et al., "Empirical validation of models to compute solar irradiance on
    inclined surfaces for building energy simulation", Solar Energy 81, 2007, doi:10.1016/j.solener.2006.03.009.
    """
    ghi = inside(xp, exogenous.ghi_w_m2, 0.0, _BRIGHTEST_W_M2)
    east, north, up = sun(xp, params, exogenous, dt_h)
    risen = xp.where(up > 0.0, inside(xp, exogenous.dni_w_m2, 0.0, _BRIGHTEST_W_M2), ghi * 0.0)
    diffuse = xp.maximum(ghi - risen * up, 0.0)
    facing = xp.maximum(params.normal_east * east + params.normal_north * north + params.normal_up * up, 0.0)
    return risen * facing + params.sky_view * diffuse + params.ground_view * ghi


def available(xp: Namespace, params: Settings, exogenous: Exogenous, dt_h: float) -> Array:
    """Power that the plant could feed in [MW].

    Cells are warmer than the air by ``G / (u_0 + u_1 v)`` (Faiman, "Assessing the outdoor operating temperature of
    photovoltaic modules", Progress in Photovoltaics 16(4), 2008, doi:10.1002/pip.813). Modules give
    ``P_dc G / 1000 (1 + gamma (T - 25))`` and the inverter ``eta / 0.9637 (-0.0162 z^2 - 0.0059 + 0.9858 z)`` over the
    load `z` of its input, up to its rating (Dobos, "PVWatts Version 5 Manual", NREL/TP-6A20-62641, 2014,
    doi:10.2172/1158421).
    """
    g_w_m2 = irradiance(xp, params, exogenous, dt_h)
    v_m_s = params.still_wind_m_s + params.by_series * inside(xp, exogenous.wind_speed_m_s, 0.0, 60.0)
    cell_c = outdoor(xp, exogenous.ambient_temp_c) + g_w_m2 / (params.u0_w_m2_k + params.u1_w_s_m3_k * v_m_s)
    warm = 1.0 + params.temperature_coefficient_per_k * (cell_c - 25.0)
    input_mw = params.p_max_mw / params.eta_inverter
    load = params.p_dc_mw * g_w_m2 / 1000.0 * xp.maximum(warm, 0.0) / input_mw
    share = (0.9858 * load - 0.0162 * load * load - 0.0059) / _ETA_REFERENCE
    p_mw = inside(xp, share, 0.0, 1.0) * params.p_max_mw
    return xp.minimum(p_mw, params.rating_mva)


def step(
    xp: Namespace, params: Settings, state: State, command: Command, exogenous: Exogenous, dt_h: float
) -> tuple[State, Injection]:
    """Deliver a share of what modules and inverter could, and reactive power within ``p^2 + q^2 <= S^2``.

    :func:`available` says what they could; capability as of :mod:`powergrid.devices.renewable`.
    """
    available_mw = available(xp, params, exogenous, dt_h)
    return State(available_mw), deliver(xp, params, available_mw, command, params.share_min)


@register_device("SolarPlant", aliases=("solar_plant", "PV", "SolarPV"))
class SolarPlant(Plant, from_module=True):
    """Solar plant driven by weather: sun position, tilted modules, cell temperature and inverter."""

    def series(self) -> dict[str, str]:
        """The columns of the settings and the clock; without a series of the wind the fourth field does not count."""
        settings = self.settings
        return {
            "ghi_w_m2": settings.ghi_series,
            "dni_w_m2": settings.dni_series,
            "ambient_temp_c": settings.temp_series,
            "wind_speed_m_s": settings.wind_series or "clock_day_sin",
            **{f"{phase}_{part}": f"clock_{phase}_{part}" for phase in ("day", "year") for part in ("sin", "cos")},
        }

    def linear(self, exogenous: Exogenous) -> LinearDevice:
        """Free power up to what is available."""
        row, series = self.params(), Exogenous(*(np.asarray(values, dtype=float) for values in exogenous))
        at = [available(np, row, series, dt_h) for dt_h in _tick_hours(series)]
        return LinearDevice(p_min_mw=row.share_min * np.min(at, axis=0), p_max_mw=np.max(at, axis=0))


def _tick_hours(exogenous: Exogenous) -> tuple[float, ...]:
    """Length of the ticks by the clock [h]; where that does not tell, the usual ones."""
    phase = np.unwrap(np.atleast_1d(np.arctan2(exogenous.day_sin, exogenous.day_cos)))
    hours = np.diff(phase) * 12.0 / pi
    even = len(hours) > 0 and hours[0] > 0.0 and np.ptp(hours) < 1e-9
    return (float(hours.mean()),) if even else (0.0, 0.25, 0.5, 1.0)
