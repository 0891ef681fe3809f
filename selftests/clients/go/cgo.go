// SPDX-License-Identifier: GPL-2.0

//go:build cgo

package main

// With C in it the program is linked dynamically, and its threads are the C library's.

import "C"
