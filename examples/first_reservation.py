"""The shortest way to a reservation. Needs a server with stock: README.md has both."""

import holdfast

with holdfast.Client("127.0.0.1:7420") as client:
    reservation = client.reserve([("SKU-1", "WH-1", 2)], owner="cart-17", ttl=900)
    print(reservation.reservation_id, reservation.state, "until", reservation.expire_time)
