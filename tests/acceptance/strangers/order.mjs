// A publisher and a consumer that know nothing of clockmill but its exchange: node order.mjs URL ORDER_ID
// Places an order, waits until it is billed, and prints that event.
import { randomUUID } from "node:crypto";
import amqp from "amqplib";

const [url, orderId] = process.argv.slice(2);
const connection = await amqp.connect(url);
const channel = await connection.createConfirmChannel();
const { queue } = await channel.assertQueue("", { exclusive: true });
await channel.bindQueue(queue, "clockmill.events", "app.order.billed");

const billed = new Promise((resolve) => {
  channel.consume(queue, (message) => {
    const event = JSON.parse(message.content.toString());
    channel.ack(message);
    if (event.data.order_id === Number(orderId)) resolve(event);
  });
});

const event = {
  specversion: "1.0",
  id: randomUUID(),
  source: "/shop",
  type: "app.order.placed",
  time: new Date().toISOString(),
  datacontenttype: "application/json",
  data: { order_id: Number(orderId) },
};
channel.publish("clockmill.events", event.type, Buffer.from(JSON.stringify(event)), {
  contentType: "application/cloudevents+json",
  mandatory: true,
  persistent: true,
});
await channel.waitForConfirms();
console.log(JSON.stringify(await billed));
await connection.close();
