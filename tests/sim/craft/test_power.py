import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sim.craft.jetson import POWER_MODES
from sim.craft.power import BatterySettings, ComputeSettings, PowerSettings, PowerState, ThermalSettings, Work


def state(compute=None, battery=None, thermal=None) -> PowerState:
    return PowerState(
        PowerSettings(
            compute=ComputeSettings(**(compute or {})),
            battery=BatterySettings(**(battery or {})),
            thermal=ThermalSettings(**(thermal or {})),
        )
    )


@pytest.mark.parametrize("name", POWER_MODES)
def test_mode_keeps_to_the_budget_in_its_name(name):
    mode = POWER_MODES[name]
    assert mode.budget_w == float(name.rsplit("-", 1)[1].rstrip("w"))
    assert mode.online_cpus in (4, 6, 8, 12)


def test_unknown_mode_is_refused_with_the_known_ones():
    with pytest.raises(ValidationError, match="unknown power mode; choose one of orin-nano-7w"):
        ComputeSettings(mode="tx2")


def test_step_sums_craft_module_frames_inferences_and_bytes():
    craft = state(
        compute={"idle_w": 5.0, "load_share": 1.0, "inference_s": 0.1, "frame_j": 2.0},  # busy: 15 W
        battery={"base_w": 100.0, "byte_j": 1e-3},
    )
    craft.step(10.0, Work(frames=20, inferences=20, sent_bytes=5_000))
    assert craft.used_wh == pytest.approx((100 * 10 + 5 * 10 + (15 - 5) * 2.0 + 20 * 2.0 + 5.0) / 3600)


def test_sun_charges_a_battery_until_it_is_full_and_spills_the_rest():
    craft = state({"idle_w": 0.0}, {"capacity_wh": 10, "start_share": 0.5, "base_w": 0, "solar_w": 20})
    craft.step(1800.0, Work(is_sunlit=True))
    assert (craft.charge_wh, craft.charged_wh, craft.spilled_wh) == pytest.approx((10.0, 5.0, 4.0))


def test_empty_battery_stays_at_zero_and_counts_what_was_missing():
    craft = state({"idle_w": 0.0}, {"capacity_wh": 1, "base_w": 2})
    craft.step(3600.0, Work())
    assert (craft.charge_wh, craft.least_wh, craft.unmet_wh) == (0.0, 0.0, 1.0)


def test_swapped_battery_is_full_and_counted():
    craft = state({"idle_w": 0.0}, {"capacity_wh": 8, "base_w": 4})
    craft.step(3600.0, Work())
    craft.swap_battery()
    assert (craft.charge_wh, craft.charged_wh, craft.least_wh) == pytest.approx((8.0, 4.0, 4.0))


steps = st.lists(
    st.tuples(st.floats(0.1, 5_000), st.integers(0, 50), st.integers(0, 10**6), st.booleans()), min_size=1, max_size=30
)


@given(steps)
def test_energy_is_conserved(done):
    craft = state(battery={"capacity_wh": 20, "start_share": 0.6, "base_w": 15, "solar_w": 60})
    for dt_s, inferences, sent, is_sunlit in done:
        craft.step(dt_s, Work(inferences, inferences, sent, is_sunlit))
        assert 0 <= craft.least_wh <= craft.charge_wh <= 20
    change_wh = craft.charge_wh - craft.start_wh
    assert change_wh == pytest.approx(craft.charged_wh - craft.used_wh + craft.unmet_wh, abs=1e-6)


def test_temperature_settles_at_power_over_conductance_above_ambient():
    craft = state({"idle_w": 5.0}, thermal={"conductance_w_per_k": 0.5, "ambient_deg_c": 20})
    craft.step(1e6, Work())
    assert craft.temperature_deg_c == pytest.approx(20 + 5 / 0.5)


def test_temperature_does_not_depend_on_the_length_of_a_step():
    coarse, fine = state(), state()
    coarse.step(600.0, Work())
    for _ in range(600):
        fine.step(1.0, Work())
    assert fine.temperature_deg_c == pytest.approx(coarse.temperature_deg_c)


def hot() -> PowerState:
    # Busy all the time: 15 W over 0.2 W/K settle 75 K above 25 degrees; throttled to 7.5 W they settle at 62.5.
    return state(
        {"idle_w": 1.0, "load_share": 1.0, "inference_s": 1.0},
        {"capacity_wh": 1e6},
        {"conductance_w_per_k": 0.2, "limit_deg_c": 80.0, "hysteresis_k": 10.0},
    )


def run_hot(craft: PowerState, seconds: int) -> list[tuple[float, bool]]:
    told = []
    for _ in range(seconds):
        craft.step(craft.inference_s, Work(inferences=1))
        told.append((craft.temperature_deg_c, craft.is_throttled))
    return told


def test_heat_throttles_and_an_inference_takes_longer_and_draws_less():
    craft = hot()
    while not craft.is_throttled:
        run_hot(craft, 1)
    assert (craft.inference_s, craft.busy_w) == (2.0, 7.5)


def test_throttle_is_released_only_below_the_hysteresis():
    told = run_hot(hot(), 8_000)
    changes = [(now, t) for (t, now), (_, before) in zip(told[1:], told, strict=False) if now != before]
    assert len(changes) >= 4
    assert all(t >= 80.0 if now else t <= 70.0 for now, t in changes)
    assert all(a[0] != b[0] for a, b in itertools.pairwise(changes))


@pytest.mark.parametrize(
    ("build", "words"),
    [
        pytest.param(lambda: ThermalSettings(ambient_deg_c=80), "never be released", id="too hot around"),
        pytest.param(lambda: ComputeSettings(mode="orin-nano-7w", idle_w=6), "idle_w 6 is above", id="idle"),
        pytest.param(lambda: BatterySettings(capacity_wh=0), "capacity_wh", id="no battery"),
    ],
)
def test_impossible_settings_are_refused(build, words):
    with pytest.raises(ValidationError, match=words):
        build()
