"""The simulator through python-aliexpress-api, which sends the text None for what is not set."""

import os

from aliexpress_api import AliexpressApi, models
from aliexpress_api.skd.api.base import RestApi

construct = RestApi.__init__


def to_simulator(self, domain=None, port=None):
    construct(self, "127.0.0.1", int(os.environ["PORT"]))


RestApi.__init__ = to_simulator
api = AliexpressApi("500001", "breakwater-demonstration-secret", models.Language.EN, models.Currency.EUR, "breakwater")

found = api.get_products(keywords="usb", page_size=5)
assert len(found.products) == 5 and found.products[0].target_sale_price_currency == "EUR"
assert len(api.get_products(keywords="usb", sort=models.SortBy.SALE_PRICE_ASC, max_sale_price=5000).products) > 0
assert len(api.get_hotproducts(page_size=3).products) == 3
ids = [str(product.product_id) for product in found.products]
details = api.get_products_details(ids)
assert 0 < len(details) <= 5
page = f"https://www.aliexpress.com/item/{details[0].product_id}.html"
links = api.get_affiliate_links([page, page + "?sourceType=620"])
assert len({link.promotion_link for link in links}) == 2
assert len(api.get_parent_categories()) > 0
assert len(api.smart_match_product("device", product_id=ids[0]).products) > 0
for status in ["Payment Completed", "Buyer Confirmed Receipt", "Completed"]:
    orders = api.get_order_list(status, "2025-03-01 00:00:00", "2025-03-08 00:00:00")
    assert orders.orders.order[0].order_status == status
print("python-aliexpress-api: 10 calls answered")
