"""Record what pvlib says of a solar plant, for `tests/unit/devices/test_solar_plant.py`; needs pvlib.

    python tests/golden/solar/record.py > tests/golden/solar/pvlib.csv

Each row is one moment at one place and what each of pvlib's functions of the same models gives for it.
"""

import sys

import numpy as np
import pandas as pd
import pvlib

PLACES = ((36.1, -79.95, -5.0, 25.0, 180.0), (-33.9, 151.2, 10.0, 40.0, 20.0), (61.0, 25.0, 2.0, 90.0, 250.0))
"""Latitude, longitude, offset from UTC [h], tilt and azimuth."""


def rows(seed: int = 0, count: int = 60) -> pd.DataFrame:
    """Moments, weather, and pvlib's answers."""
    random = np.random.default_rng(seed)
    place = np.array(PLACES)[random.integers(len(PLACES), size=count)]
    frame = pd.DataFrame(place, columns=["latitude", "longitude", "offset_h", "tilt", "azimuth"])
    frame["day"], frame["hour"] = random.integers(1, 366, count), random.uniform(5.0, 20.0, count).round(3)
    frame["ghi"], frame["dni"] = random.uniform(0, 1000, count).round(1), random.uniform(0, 900, count).round(1)
    frame["air"], frame["wind"] = random.uniform(-10, 38, count).round(1), random.uniform(0, 12, count).round(1)

    declination = pvlib.solarposition.declination_spencer71(frame.day)
    time = pvlib.solarposition.equation_of_time_spencer71(frame.day)
    hour = np.radians(15.0 * (frame.hour - frame.offset_h - 12.0) + frame.longitude + time / 4.0)
    latitude = np.radians(frame.latitude)
    zenith = pvlib.solarposition.solar_zenith_analytical(latitude, hour, declination)
    # the azimuth is pvlib's only between -180 and 180 degrees of hour angle
    turned = (hour + np.pi) % (2.0 * np.pi) - np.pi
    azimuth = pvlib.solarposition.solar_azimuth_analytical(latitude, turned, declination, zenith)
    frame["zenith"] = np.degrees(zenith)
    up = zenith < np.pi / 2.0
    dni = frame.dni.where(up, 0.0)
    diffuse = (frame.ghi - dni * np.cos(zenith)).clip(lower=0.0)
    sun = (frame.tilt, frame.azimuth, np.degrees(zenith), np.degrees(azimuth))
    beam = dni * np.maximum(np.cos(np.radians(pvlib.irradiance.aoi(*sun))), 0.0)
    sky = pvlib.irradiance.isotropic(frame.tilt, diffuse)
    ground = pvlib.irradiance.get_ground_diffuse(frame.tilt, frame.ghi, albedo=0.25)
    frame["poa"] = beam + sky + ground
    frame["cell"] = pvlib.temperature.faiman(frame.poa, frame.air, frame.wind, u0=25.0, u1=6.84)
    dc = pvlib.pvsystem.pvwatts_dc(frame.poa, frame.cell, 1.2 * (1.0 - 0.14), -0.0035)
    frame["ac"] = pvlib.inverter.pvwatts(dc, 1.0 / 0.96, eta_inv_nom=0.96)
    return frame


if __name__ == "__main__":
    sys.stdout.write(f"# pvlib {pvlib.__version__}\n")
    rows().to_csv(sys.stdout, index=False, float_format="%.12g", lineterminator="\n")
