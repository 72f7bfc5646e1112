# frozen_string_literal: true

require 'nothing_of_this_name'
