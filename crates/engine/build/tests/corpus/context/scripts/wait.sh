#!/bin/sh
sleep 0
