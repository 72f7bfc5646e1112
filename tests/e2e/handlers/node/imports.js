'use strict';
require('nothing-of-this-name');
