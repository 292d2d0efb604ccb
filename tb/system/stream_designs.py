"""Small AXI4-Stream designs by hand: one that is right, the same one with a defect, and a wide wire."""

from enum import IntEnum


class Defect(IntEnum):
    """What is wrong with `NARROWER`: the low four bits of the first input beat choose it."""

    NONE = 0
    DEAD = 1
    DROPS_A_BEAT = 2
    REPEATS_A_BEAT = 3
    DATA_CHANGES_UNDER_STALL = 4
    VALID_FALLS_UNDER_STALL = 5
    NO_LAST = 6
    LAST_CHANGES_UNDER_STALL = 7
    STOPS_TAKING = 8


# Each 16-bit beat leaves as two 8-bit beats, the low byte first; without a stall one byte leaves every cycle.
# So much as one defect is built in, and chosen while it runs, so that one build serves every test.
NARROWER = """
module narrower(
  input clk, input rst,
  input [15:0] s_axis_tdata, input s_axis_tvalid, input s_axis_tlast, output s_axis_tready,
  output [7:0] m_axis_tdata, output m_axis_tvalid, output m_axis_tlast, input m_axis_tready
);
  reg [15:0] data;
  reg [1:0] left;
  reg last, first, tick;
  reg [3:0] defect;
  reg [7:0] taken;
  wire stalled = m_axis_tvalid & ~m_axis_tready;
  wire sends = s_axis_tvalid & s_axis_tready;
  assign s_axis_tready = (left == 0 | (left == 1 & m_axis_tready)) & ~(defect == 8 & taken == 3);
  assign m_axis_tvalid = (left != 0 | (defect == 8 & taken == 3)) & defect != 1 & ~(defect == 5 & tick);
  assign m_axis_tdata = (left == 2 ? data[7:0] : data[15:8]) ^ (defect == 4 & tick ? 8'h80 : 8'h00);
  assign m_axis_tlast = (last & left == 1 & defect != 6) ^ (defect == 7 & tick);
  always @(posedge clk)
    if (rst) begin
      left <= 0; first <= 1; tick <= 0; defect <= 0; taken <= 0;
    end else begin
      tick <= stalled;
      if (sends) begin
        data <= s_axis_tdata; last <= s_axis_tlast; first <= 0; taken <= taken + 1;
        left <= defect == 2 & taken == 2 ? 1 : defect == 3 & taken == 2 ? 3 : 2;
        if (first) defect <= s_axis_tdata[3:0];
      end else if (m_axis_tvalid & m_axis_tready)
        left <= left == 0 ? 0 : left - 1;
    end
endmodule
"""

WIRE_BYTES = 136

# Wires only: an input handshake is an output handshake of the same cycle.
WIRE = f"""
(* top = 1 *)
module wide_wire(clk, rst, s_axis_tdata, s_axis_tvalid, s_axis_tlast, s_axis_tready,
                 m_axis_tdata, m_axis_tvalid, m_axis_tlast, m_axis_tready);
  input clk;
  input rst;
  input [{8 * WIRE_BYTES - 1}:0] s_axis_tdata;
  wire [{8 * WIRE_BYTES - 1}:0] s_axis_tdata;
  input s_axis_tvalid;
  input s_axis_tlast;
  output s_axis_tready;
  output [{8 * WIRE_BYTES - 1}:0] m_axis_tdata;
  output m_axis_tvalid;
  output m_axis_tlast;
  input m_axis_tready;
  assign m_axis_tdata = s_axis_tdata;
  assign m_axis_tvalid = s_axis_tvalid;
  assign m_axis_tlast = s_axis_tlast;
  assign s_axis_tready = m_axis_tready;
endmodule
"""
