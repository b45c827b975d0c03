"""Services that work through many requests at a time, at their own pace."""
