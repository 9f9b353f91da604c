"""What one connection says about targets, while other people use the store."""

import asyncio
from types import SimpleNamespace

from cloud.target_sender import TargetSender
from protocols.messages import KINDS, TrackTarget

KEY = "0" * 12


def test_order_that_is_taken_back_just_before_it_is_sent_is_not_sent(open_store):
    sent = []

    async def ask(call, *args):
        if call == open_store.mark_target_sent:  # between the look at the store and this
            open_store.stop_target("uav", KEY, 1001.0)
        return call(*args)

    async def send(message):
        sent.append(message)

    order = TrackTarget(target_key=KEY, action="start", box_xyxy=(10, 20, 30, 40))
    open_store.add_target("uav", order, by="ann", now_s=1000.0, expires_at_s=1060.0)
    clock = SimpleNamespace(wall_s=lambda: 1001.0)
    sender = TargetSender(SimpleNamespace(store=open_store, clock=clock, ask=ask), "uav", send)
    sender.greet(SimpleNamespace(craft_software="test", kinds=KINDS))
    asyncio.run(sender.look())
    target = open_store.target("uav", KEY, 1002.0)
    assert (sent, target.state, target.is_sent) == ([], "stopped", False)
