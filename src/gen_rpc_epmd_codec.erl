%% SPDX-License-Identifier: Apache-2.0
%% @hidden
%% The bytes of the EPMD protocol, as in "Distribution Protocol" of the ERTS user's guide. Pure.
-module(gen_rpc_epmd_codec).

-export([alive/2, alive_reply/1, port_please/1, port_reply/1]).

-define(ALIVE2_REQ, 120).
-define(ALIVE2_RESP, 121).
-define(ALIVE2_X_RESP, 118).
-define(PORT_PLEASE2_REQ, 122).
-define(PORT2_RESP, 119).

-define(HIDDEN_NODE, 72).
-define(TCP_IPV4, 0).
-define(HIGHEST_VERSION, 6).
-define(LOWEST_VERSION, 5).

%% Enters a name. It stays as long as the connection does.
-spec alive(Name :: string(), inet:port_number()) -> iodata().
alive(Name, Port) ->
    Bytes = unicode:characters_to_binary(Name),
    framed(<<?ALIVE2_REQ, Port:16, ?HIDDEN_NODE, ?TCP_IPV4, ?HIGHEST_VERSION:16, ?LOWEST_VERSION:16,
             (byte_size(Bytes)):16, Bytes/binary, 0:16>>).

%% `more': that is not all of it yet.
-spec alive_reply(binary()) -> ok | refused | more | invalid.
alive_reply(<<?ALIVE2_X_RESP, 0, _Creation:32>>) -> ok;
alive_reply(<<?ALIVE2_RESP, 0, _Creation:16>>) -> ok;
alive_reply(<<?ALIVE2_X_RESP, Result, _/binary>>) when Result > 0 -> refused;
alive_reply(<<?ALIVE2_RESP, Result, _/binary>>) when Result > 0 -> refused;
alive_reply(<<?ALIVE2_X_RESP, Rest/binary>>) when byte_size(Rest) < 5 -> more;
alive_reply(<<?ALIVE2_RESP, Rest/binary>>) when byte_size(Rest) < 3 -> more;
alive_reply(<<>>) -> more;
alive_reply(_) -> invalid.

%% Asks for the port of a name.
-spec port_please(Name :: string()) -> iodata().
port_please(Name) ->
    framed(<<?PORT_PLEASE2_REQ, (unicode:characters_to_binary(Name))/binary>>).

%% What comes behind the port is of no interest here.
-spec port_reply(binary()) -> {ok, inet:port_number()} | unknown_name | more | invalid.
port_reply(<<?PORT2_RESP, 0, Port:16, _/binary>>) -> {ok, Port};
port_reply(<<?PORT2_RESP, Result, _/binary>>) when Result > 0 -> unknown_name;
port_reply(<<?PORT2_RESP, Rest/binary>>) when byte_size(Rest) < 3 -> more;
port_reply(<<>>) -> more;
port_reply(_) -> invalid.

framed(Bytes) -> [<<(byte_size(Bytes)):16>>, Bytes].
