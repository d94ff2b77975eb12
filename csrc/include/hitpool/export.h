// Marks what the shared libraries of hitpool show to others.
#pragma once

#define HITPOOL_EXPORT __attribute__((visibility("default")))
