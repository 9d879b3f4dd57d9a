// The simulator through ae_sdk, which sends simplify=true and reads products.product all the same.
import assert from "node:assert";
import { AffiliateClient } from "ae_sdk";

const client = new AffiliateClient({ app_key: "500001", app_secret: "breakwater-demonstration-secret" });
client.migrated_apis_url = `http://127.0.0.1:${process.env.PORT}/sync`;
const common = { target_currency: "USD", target_language: "EN", tracking_id: "breakwater" };
const result = (answer) => {
  assert(answer.ok, JSON.stringify(answer));
  return Object.values(answer.data)[0].resp_result.result;
};

const found = result(await client.queryProducts({ ...common, keywords: "usb", page_size: 5, delivery_days: undefined }));
assert.equal(found.products.length, 5);
assert(Array.isArray(found.products[0].product_small_image_urls));
assert.equal(result(await client.getHotProducts({ ...common, page_size: 3, sort: "LAST_VOLUME_DESC" })).products.length, 3);
const ids = found.products.map((product) => product.product_id).join(",");
assert(result(await client.productDetails({ ...common, product_ids: ids })).products.length > 0);
assert(result(await client.smartMatchProducts({ ...common, device_id: "device", keywords: "lamp" })).products.length > 0);
assert(result(await client.getCategories({})).categories.category.length > 0);
const source_values = "https://www.aliexpress.com/item/1.html,https://www.aliexpress.com/p/a?b=1";
const links = result(await client.generateAffiliateLinks({ source_values, promotion_link_type: "0", tracking_id: "breakwater" }));
assert.equal(links.promotion_links.promotion_link.length, 2);
const span = { start_time: "2025-03-01 00:00:00", end_time: "2025-03-02 00:00:00", status: "Payment Completed" };
assert(result(await client.ordersList({ ...span, page_no: 1, page_size: 5 })).orders);
console.log("ae_sdk: 7 calls answered");
