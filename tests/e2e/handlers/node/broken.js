'use strict';
throw new TypeError('no database');
