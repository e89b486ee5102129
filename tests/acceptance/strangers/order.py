"""The same with bare pika: order.py URL ORDER_ID. It shares no code with clockmill."""

import json
import sys
import uuid

import pika

url, order_id = sys.argv[1], int(sys.argv[2])
connection = pika.BlockingConnection(pika.URLParameters(url))
channel = connection.channel()
channel.confirm_delivery()
queue = channel.queue_declare("", exclusive=True).method.queue
channel.queue_bind(queue, "clockmill.events", "app.order.billed")

event = {
    "specversion": "1.0",
    "id": str(uuid.uuid4()),
    "source": "/shop",
    "type": "app.order.placed",
    "data": {"order_id": order_id},
}
channel.basic_publish("clockmill.events", event["type"], json.dumps(event).encode(), mandatory=True)

for _, _, body in channel.consume(queue, auto_ack=True, inactivity_timeout=60):
    if body is None:
        sys.exit("the order was not billed within a minute")
    heard = json.loads(body)
    if heard["data"]["order_id"] == order_id:
        print(json.dumps(heard))
        break
connection.close()
